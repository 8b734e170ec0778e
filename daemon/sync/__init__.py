"""Keeps the router's keys in step with the store: what the node has is advertised, what is gone withdrawn."""

from daemon.sync.sync import Sync

__all__ = ["Sync"]
