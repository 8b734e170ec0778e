"""How a node finds its first peers."""

from __future__ import annotations

from daemon.bootstrap.base import Bootstrap, BootstrapError, Candidate, Source

__all__ = ["Bootstrap", "BootstrapError", "Candidate", "Source"]
