"""Ping (libp2p specifications, ping): 32 bytes there and the same 32 bytes back, as often as wanted."""

from __future__ import annotations

import secrets

from daemon.libp2p.errors import RemoteProtocolError

PROTOCOL = "/ipfs/ping/1.0.0"
SIZE = 32


class Pinger:
    """The side that asks; one round after the other."""

    def __init__(self) -> None:
        self._expected = b""
        self._received = b""

    def start(self) -> bytes:
        """Return what to send for a new round."""
        self._expected = secrets.token_bytes(SIZE)
        self._received = b""
        return self._expected

    def receive(self, data: bytes) -> bool:
        """Take in what was received and tell whether the round is complete.

        Raises:
            RemoteProtocolError: it is not what was sent.
        """
        self._received += data
        if not self._expected.startswith(self._received):
            raise RemoteProtocolError("the answer to a ping is not what was sent")
        return len(self._received) == SIZE


class Echo:
    """The side that answers, a whole payload at a time."""

    def __init__(self) -> None:
        self._pending = b""

    def receive(self, data: bytes) -> bytes:
        """Take in what was received and return what to send back."""
        data = self._pending + data
        whole = len(data) - len(data) % SIZE
        self._pending = data[whole:]
        return data[:whole]
