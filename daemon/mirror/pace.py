"""Whether a peer is fast enough, judged only by the time that was spent waiting for it.

A peer that sends nothing at all is a case of its own. What was lost on the way TCP sends again 0.2, 0.6, 1.4,
3.0 and 6.2 seconds later (on a network whose round trips are short, the timeout is 0.2 s and doubles; RFC
6298). So the limits for silence lie just behind the fourth and the fifth time: a shorter one would give up
before a packet that may well come, and a longer one has none to wait for until 12.6 s. A peer that is well is
never still for so long: one that caps its rate sends in small steps.
"""

from __future__ import annotations

FLOOR = 64 * 1024
"""Bytes per second of waiting: any node that is well delivers more, even in the middle of a rush."""
WINDOW = 5.0
"""Seconds of waiting after which a peer is judged."""
STILLNESS = 3.5
"""Seconds without a byte after which a peer is left for another one, where there is one."""
SILENCE = 7.0
"""Seconds without a byte after which a peer counts as dead, even where there is no other."""


class Pace:
    """Judges one transfer. Time that the client takes for its part does not count."""

    def __init__(self) -> None:
        self.silent = 0.0
        """Seconds waited since the last byte."""
        self._limit = STILLNESS
        """Of silence, the next one."""
        self._waited = 0.0
        self._bytes = 0

    def patience(self) -> float:
        """Return the seconds to wait before asking for a judgement."""
        return max(min(WINDOW - self._waited, self._limit - self.silent), 0.0)

    def waited(self, seconds: float) -> None:
        """Count time spent waiting for the peer."""
        self._waited += seconds
        self.silent += seconds

    def received(self, count: int) -> None:
        """Count bytes that came."""
        self._bytes += count
        self.silent = 0.0
        self._limit = STILLNESS

    def judge(self) -> bool:
        """Return whether the peer is silent, or was too slow in a window that has passed; opens the next."""
        if self.patience() > 0:
            return False
        still = self.silent >= self._limit
        slow = still or self._bytes < FLOOR * self._waited
        if still:
            self._limit = SILENCE
        self._waited, self._bytes = 0.0, 0
        return slow
