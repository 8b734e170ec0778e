"""The OCI registry on this node: local content from the store, the rest from other nodes."""
