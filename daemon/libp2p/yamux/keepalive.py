"""Finds out whether a silent peer is still there. Times are in seconds, on any clock that only goes up."""

from __future__ import annotations


class PeerSilentError(Exception):
    """The peer did not even answer a ping. The connection has to end."""


class Keepalive:
    """Says when to ping and when to give up. Anything that comes in shows that the peer lives."""

    def __init__(self, now: float, *, interval: float = 30.0, patience: float = 10.0) -> None:
        """Start at ``now``; ask after ``interval`` of silence and give up ``patience`` later."""
        self._interval = interval
        self._patience = patience
        self._asked = False
        self.due = now + interval
        """When to call ``poll`` next."""

    def heard(self, now: float) -> None:
        """Take note that something came in."""
        self._asked = False
        self.due = now + self._interval

    def poll(self, now: float) -> bool:
        """Tell whether to send a ping now.

        Raises:
            PeerSilentError: a ping was sent and nothing came in since.
        """
        if now < self.due:
            return False
        if self._asked:
            raise PeerSilentError(f"the peer did not answer a ping within {self._patience:g} s")
        self._asked = True
        self.due = now + self._patience
        return True
