"""Routers in processes of their own, on loopback."""
