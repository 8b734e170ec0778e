"""A cap on a rate, as a token bucket; the clock is an argument."""

from __future__ import annotations


class TokenBucket:
    """Lets ``rate`` bytes a second through, and ``burst`` bytes at once after a rest.

    Whoever wants to send reserves first and waits for as long as it is told. Reservations are served in the
    order in which they were made, so many transfers share the rate step by step.
    """

    def __init__(self, rate: float, burst: float) -> None:
        """Start full.

        Args:
            rate: bytes per second, more than 0.
            burst: bytes.
        """
        self.rate = rate
        self._burst = burst
        self._free_at = float("-inf")

    def reserve(self, count: int, now: float) -> float:
        """Take ``count`` bytes; return the seconds to wait before sending them."""
        self._free_at = max(self._free_at, now - self._burst / self.rate) + count / self.rate
        return max(0.0, self._free_at - now)
