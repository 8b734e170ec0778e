"""Who may begin a handshake: a queue, so that a thousand clients at once are served one after the other.

Each connection costs some 40 KB from its handshake to its answer, and begun all at once they would also all
end late. A client that keeps the server waiting gives up its place, so that slow ones do not hold up others.
"""

from __future__ import annotations

from typing import Generic, TypeVar

Client = TypeVar("Client")


class Turns(Generic[Client]):
    """At most a number of clients at a time; the rest wait in their order. Times are in seconds."""

    def __init__(self, places: int, patience: float) -> None:
        """``patience`` is how long a place is kept for a client that does nothing."""
        self._places = places
        self._patience = patience
        self._under_way: dict[Client, float] = {}  # since when it does nothing; longest first
        self._waiting: dict[Client, None] = {}

    def __bool__(self) -> bool:
        """Say whether somebody waits."""
        return bool(self._waiting)

    def begin(self, client: Client, now: float) -> bool:
        """Say whether a client may begin; otherwise it waits until ``next`` names it."""
        if self._waiting or len(self._under_way) >= self._places:
            self._waiting[client] = None
            return False
        self._under_way[client] = now
        return True

    def progress(self, client: Client, now: float) -> None:
        """Note that a client has done something."""
        if self._under_way.pop(client, None) is not None:
            self._under_way[client] = now

    def end(self, client: Client) -> None:
        """Note that a client is done, or gone."""
        self._under_way.pop(client, None)
        self._waiting.pop(client, None)

    def next(self, now: float) -> list[Client]:
        """Return those who have waited and may begin now."""
        while self._under_way:
            client, since = next(iter(self._under_way.items()))
            if now - since < self._patience:
                break
            del self._under_way[client]
        begun = []
        while self._waiting and len(self._under_way) < self._places:
            client = next(iter(self._waiting))
            del self._waiting[client]
            self._under_way[client] = now
            begun.append(client)
        return begun
