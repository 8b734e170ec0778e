"""Whether a peer is fast enough, judged only by the time that was spent waiting for it."""

from __future__ import annotations

FLOOR = 64 * 1024
"""Bytes per second of waiting: any node that is well delivers more, even in the middle of a rush."""
WINDOW = 5.0
"""Seconds of waiting after which a peer is judged."""
SILENCE = 10.0
"""Seconds without a byte after which a peer counts as dead, even where there is no other."""


class Pace:
    """Judges one transfer. Time that the client takes for its part does not count."""

    def __init__(self) -> None:
        self.silent = 0.0
        """Seconds waited since the last byte."""
        self._waited = 0.0
        self._bytes = 0

    def patience(self) -> float:
        """Return the seconds to wait before asking for a judgement."""
        return max(WINDOW - self._waited, 0.0)

    def waited(self, seconds: float) -> None:
        """Count time spent waiting for the peer."""
        self._waited += seconds
        self.silent += seconds

    def received(self, count: int) -> None:
        """Count bytes that came."""
        self._bytes += count
        self.silent = 0.0

    def judge(self) -> bool:
        """Return whether the peer was too slow in the window that has passed; opens the next one."""
        if self._waited < WINDOW:
            return False
        slow = self._bytes < FLOOR * self._waited
        self._waited, self._bytes = 0.0, 0
        return slow
