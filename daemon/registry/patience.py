"""How long to wait for the store; pure, the clock is an argument.

A client waits meanwhile that could have asked the next host, and content is not worth more time here than it
costs there. One wait tells that the store hangs; those after it need not find out again.
"""

from __future__ import annotations

LIMIT = 1.0
"""Seconds for a store of which nothing bad is known."""
SHORT_LIMIT = 0.1
"""The same for one that hung lately; one that is well answers in a few milliseconds."""
MEMORY = 10.0
"""Seconds for which it is remembered that the store hung, unless it answers before."""


class Patience:
    """Remembers whether the store hung."""

    def __init__(self) -> None:
        self._suspect_until = float("-inf")

    def limit(self, now: float) -> float:
        """Return how many seconds to wait."""
        return SHORT_LIMIT if now < self._suspect_until else LIMIT

    def exhausted(self, now: float) -> None:
        """Note that it did not answer within the limit.

        The short limit proves nothing: a store that is only slow must get a chance to show that it answers.
        """
        if now >= self._suspect_until:
            self._suspect_until = now + MEMORY

    def answered(self) -> None:
        """Note that it did."""
        self._suspect_until = float("-inf")
