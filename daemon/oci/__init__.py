"""The vocabulary of the OCI distribution and image specifications that the daemon speaks."""
