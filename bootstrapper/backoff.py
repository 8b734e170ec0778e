"""How long to wait before trying again."""

from __future__ import annotations

from collections.abc import Callable


class Backoff:
    """Doubles from a first to a longest wait, and cuts up to half off by chance.

    By chance, because the bootstrappers of all clusters on a seed may have lost their servers at once.
    """

    def __init__(self, chance: Callable[[], float], *, first: float = 0.25, longest: float = 30.0) -> None:
        """``chance`` returns a number from 0 to 1, as random.random does; waits are in seconds."""
        self._chance = chance
        self._first = first
        self._longest = longest
        self._wait = first

    def next(self) -> float:
        """Return the next wait."""
        wait, self._wait = self._wait, min(2 * self._wait, self._longest)
        return wait * (1 - self._chance() / 2)

    def reset(self) -> None:
        """Begin anew, because something went well."""
        self._wait = self._first
