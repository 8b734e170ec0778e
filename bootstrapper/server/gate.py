"""Who may come in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from bootstrapper.rate import RateLimit


class Gate:
    """Limits how often an address comes, and counts who is refused; see serving.server.Gate."""

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self.on_refused: Callable[[str], None] = lambda _: None

    def admit(self, address: str) -> bool:
        """Say whether a connection or a request from an address is taken."""
        with self._lock:
            return self._limit.admit(address, time.monotonic())

    def refused(self, reason: str) -> None:
        """Count a connection that came to nothing."""
        self.on_refused(reason)
