"""Finding which nodes have a piece of content."""
