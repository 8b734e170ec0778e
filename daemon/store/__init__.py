"""Where the node's image content is: containerd's store, or an OCI image layout directory."""
