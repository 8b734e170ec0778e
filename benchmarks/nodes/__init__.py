"""Two nodes as network namespaces, what runs on them, and clients."""
