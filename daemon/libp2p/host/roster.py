"""The established connections, by peer.

One connection to a peer is enough. When both sides dial at once there are two for a moment: then both keep
the one that the peer with the lesser ID dialled, so that they keep the same. Otherwise the newer is kept: a
peer that connects again has usually lost the older. What goes on on the other may come to its end there.
"""

from __future__ import annotations

from collections.abc import Iterator

from daemon.libp2p.host.connection import Connection
from daemon.libp2p.identity import PeerId

_AT_ONCE = 5.0
"""Seconds between two dials that may not have known of each other."""


class Roster:
    """Who is connected, and which connection to use."""

    def __init__(self, me: PeerId) -> None:
        self._me = me
        self._peers: dict[PeerId, list[Connection]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Connection]:
        for connections in list(self._peers.values()):
            yield from list(connections)

    def peers(self) -> list[PeerId]:
        """Return who is connected."""
        return list(self._peers)

    def best(self, peer: PeerId) -> Connection | None:
        """Return the connection on which to open streams to a peer."""
        for connection in self._peers.get(peer, ()):
            if not connection.retired:
                return connection
        return None

    def add(self, connection: Connection) -> bool:
        """Take in a connection; tell whether the peer had none before."""
        connections = self._peers.setdefault(connection.peer_id, [])
        first = not connections
        for other in connections:
            self._duel(other, connection).retired = True
        connections.append(connection)
        self._size += 1
        return first

    def remove(self, connection: Connection) -> bool:
        """Let go of a connection; tell whether the peer has none left."""
        connections = self._peers[connection.peer_id]
        connections.remove(connection)
        self._size -= 1
        if not connections:
            del self._peers[connection.peer_id]
        return not connections

    def _duel(self, older: Connection, newer: Connection) -> Connection:
        """Return the connection that is not to be kept."""
        if older.dialled == newer.dialled or newer.since - older.since > _AT_ONCE:
            return older
        mine, theirs = (older, newer) if older.dialled else (newer, older)
        return theirs if self._me < newer.peer_id else mine
