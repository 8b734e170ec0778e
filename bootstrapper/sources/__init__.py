"""Where nodes come from: an API server, or a file."""
