"""Who may come in, and with what."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from bootstrapper.expiry import EarliestEnd
from bootstrapper.rate import RateLimit


class Gate:
    """Limits how often an address comes, and is told of who is refused or not; see serving.server.Gate."""

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._ends = EarliestEnd()
        self._lock = threading.Lock()
        self.on_refused: Callable[[str], None] = lambda _: None

    def admit(self, address: str) -> bool:
        """Say whether a connection or a request from an address is taken."""
        with self._lock:
            return self._limit.admit(address, time.monotonic())

    def identified(self, end: float) -> None:
        """Remember when the certificate of a client ends."""
        with self._lock:
            self._ends.note(end, time.monotonic())

    def earliest_end(self) -> float:
        """Return when the first of the certificates that were shown lately ends; infinite without any."""
        with self._lock:
            return self._ends.at(time.monotonic())

    def refused(self, reason: str) -> None:
        """Count a connection that came to nothing."""
        self.on_refused(reason)
