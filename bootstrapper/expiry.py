"""When the certificates that clients show end: the first of those that were seen lately."""

from __future__ import annotations

import math

WINDOW_SECONDS = 7200.0
"""Nodes ask every half hour, each on a new connection."""
_MOST = 100  # nodes share one certificate, and another one for a while after each renewal


class EarliestEnd:
    """Ends of certificates, each with the time at which it was last seen; all in seconds."""

    def __init__(self) -> None:
        self._seen: dict[float, float] = {}

    def note(self, end: float, now: float) -> None:
        """Take note of a certificate that was shown."""
        self._seen[end] = now
        if len(self._seen) > _MOST:
            self._forget(now)
        if len(self._seen) > _MOST:
            del self._seen[max(self._seen)]

    def at(self, now: float) -> float:
        """Return the first end; infinite when nobody has come lately."""
        self._forget(now)
        return min(self._seen, default=math.inf)

    def _forget(self, now: float) -> None:
        for end in [end for end, seen in self._seen.items() if now - seen > WINDOW_SECONDS]:
            del self._seen[end]
