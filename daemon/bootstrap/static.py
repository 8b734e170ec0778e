"""Peers that are named by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from daemon.bootstrap.base import Candidate
from daemon.libp2p.multiaddr import InvalidMultiaddrError, Multiaddr


class StaticSource:
    """Always the same candidates."""

    def __init__(self, addresses: Iterable[str]) -> None:
        """Take multiaddrs that end in a peer ID.

        Raises:
            InvalidMultiaddrError: one is none, or ends in no peer ID.
        """
        self._candidates = [_candidate(text) for text in addresses]

    async def find(self) -> Sequence[Candidate]:
        """Return them."""
        return self._candidates


def _candidate(text: str) -> Candidate:
    address = Multiaddr.parse(text)
    if address.peer_id is None:
        raise InvalidMultiaddrError(f"{text!r} does not end in the peer's ID, /p2p/...")
    return Candidate(address.peer_id, (address,))
