"""Divides what all have together among those who are there, again and again as they come and go."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar


class Sharer(Protocol):
    """Who takes a share; there for a reason of its own, such as a connection."""

    def share(self, among: int) -> None:
        """Take no more than one of so many equal shares from now on."""


T = TypeVar("T", bound=Sharer)


class Shares(Generic[T]):
    """Tells everybody how many there are, roughly: a power of two that is less than four times as many.

    So there is news only when the number has doubled or halved, and telling it costs little however many come
    and go.
    """

    def __init__(self) -> None:
        self._sharers: set[T] = set()
        self._among = 1

    def enter(self, sharer: T) -> None:
        """Count one in."""
        self._sharers.add(sharer)
        if not self._tell():
            sharer.share(self._among)

    def leave(self, sharer: T) -> None:
        """Count it out; once is enough, twice does no harm."""
        self._sharers.discard(sharer)
        self._tell()

    def _tell(self) -> bool:
        """Tell everybody, if there is news."""
        count = len(self._sharers)
        if count <= self._among < 4 * count:
            return False
        among = self._among = 1 << max(count - 1, 0).bit_length()
        for sharer in self._sharers:
            sharer.share(among)
        return True
