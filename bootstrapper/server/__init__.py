"""The thin shell around the answers: HTTP, TLS, processes, figures."""
