"""Builds the daemon as one file, for nodes that have no Python; see docs/binary.md."""
