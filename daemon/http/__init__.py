"""A small HTTP/1.1 server whose bodies can go from file or socket to socket inside the kernel."""
