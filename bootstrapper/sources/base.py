"""What a source of nodes is to whoever runs it."""

from __future__ import annotations

from typing import NoReturn, Protocol

from bootstrapper.roster import Roster


class SourceError(Exception):
    """The nodes cannot be read now; the message says why."""

    def __init__(self, reason: str, message: str) -> None:
        """``reason`` is one word for the figures."""
        super().__init__(message)
        self.reason = reason


class Listener(Protocol):
    """Who is told how it goes."""

    def heard(self) -> None:
        """What the roster holds is true now."""

    def failed(self, error: SourceError) -> None:
        """The source has no news; it tries again."""


class Source(Protocol):
    """Somewhere that nodes come from."""

    def read(self, roster: Roster) -> None:
        """Read all nodes once.

        Raises:
            SourceError: they cannot be read.
        """

    def follow(self, roster: Roster, listener: Listener) -> NoReturn:
        """Keep the roster true for ever."""
