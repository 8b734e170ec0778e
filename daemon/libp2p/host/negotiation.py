"""A connection while it is being upgraded: a socket, the machine that upgrades it, and a deadline."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from daemon.libp2p.errors import RemoteProtocolError
from daemon.libp2p.host.upgrade import Upgrade
from daemon.libp2p.host.wire import Wire
from daemon.libp2p.multistream import NotSupportedError
from daemon.libp2p.noise import PeerMismatchError, Secured


class NegotiationError(Exception):
    """A connection could not be upgraded; the message says why."""


class Negotiation:
    """One connection on its way. It ends by calling ``done``, always, and once."""

    def __init__(
        self,
        sock: socket.socket,
        shared: memoryview,
        upgrade: Upgrade,
        seconds: float,
        done: Callable[[Negotiation, Exception | None], None],
    ) -> None:
        """Begin to upgrade a connected socket.

        Args:
            sock: non-blocking; closed when the upgrade fails.
            shared: see `Wire`.
            upgrade: this side's part.
            seconds: how long it may take.
            done: called with a NegotiationError or PeerMismatchError, or with None when ``wire``,
                ``secured`` and ``rest`` are to be taken over at once.
        """
        self._upgrade = upgrade
        self._over = False
        self._done = done
        self.wire = Wire(sock, shared, self._received, self._fail)
        self._deadline = asyncio.get_running_loop().call_later(
            seconds, self._fail, "the handshake is too slow"
        )
        if opening := upgrade.start():
            self.wire.write(opening)

    @property
    def secured(self) -> Secured:
        """Who the peer is, and the secure channel to it."""
        return self._upgrade.secured

    @property
    def rest(self) -> list[bytes]:
        """What came in for yamux already."""
        return self._upgrade.rest

    def abort(self, reason: str) -> None:
        """Give up, unless it is over."""
        self._fail(reason)

    def _received(self, data: memoryview) -> None:
        try:
            answer = self._upgrade.receive(bytes(data))
        except PeerMismatchError as error:
            self._end(error)
            return
        except (RemoteProtocolError, NotSupportedError) as error:
            self._end(NegotiationError(str(error)))
            return
        if answer:
            self.wire.write(answer)
        if self._upgrade.done:
            self._deadline.cancel()
            self._over = True
            self._done(self, None)

    def _fail(self, reason: str) -> None:
        self._end(NegotiationError(reason))

    def _end(self, error: Exception) -> None:
        if self._over:
            return
        self._over = True
        self._deadline.cancel()
        self.wire.abort()
        self._done(self, error)
