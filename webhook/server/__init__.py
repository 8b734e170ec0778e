"""The thin shell around the decisions: HTTP, TLS, processes, figures and logs."""
