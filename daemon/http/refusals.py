"""Refused connections in the log: the first at once, those of the next minute together in one line."""

from __future__ import annotations

import logging

from daemon.http.limits import Scope

INTERVAL = 60.0
"""Seconds from one line to the next."""

logger = logging.getLogger(__name__)


class Refusals:
    """Collects what is to be logged; times are those of any one clock, in seconds."""

    def __init__(self) -> None:
        self._count = 0
        self._last: tuple[str, Scope] | None = None
        self._next_line = float("-inf")

    def add(self, client: str, scope: Scope, now: float) -> None:
        """Note that a client's connection was refused, and why."""
        self._count += 1
        self._last = client, scope
        self.report(now)

    def report(self, now: float) -> None:
        """Log what has not been logged yet, if it is time."""
        if self._last is None or now < self._next_line:
            return
        client, scope = self._last
        fields = {"count": self._count, "reason": scope.value, "ip": client}
        logger.warning("too many connections, refused", extra=fields)
        self._count, self._last = 0, None
        self._next_line = now + INTERVAL
