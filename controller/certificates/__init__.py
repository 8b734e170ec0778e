"""The authority of a shoot, the bootstrapper's certificate and that of the nodes, kept fresh."""
