"""Inbound connections: accepted, counted, upgraded; most strangers get no further than a reset."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Iterable

from daemon.libp2p.host.limits import Admission, Limits
from daemon.libp2p.host.negotiation import Negotiation
from daemon.libp2p.host.upgrade import Upgrade
from daemon.libp2p.host.wire import plain_address, prepare
from daemon.libp2p.noise import Credentials

logger = logging.getLogger(__name__)

_TURN = 64
"""Connections that are accepted before others have their turn."""
_PAUSE = 1.0
"""Seconds to wait when the process has no file descriptor left."""
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Reception:
    """Listens and hands over what is upgraded."""

    def __init__(
        self,
        credentials: Credentials,
        shared: memoryview,
        limits: Limits,
        admitted: Admission,
        establish: Callable[[Negotiation], None],
    ) -> None:
        """Prepare to listen.

        Args:
            credentials: what this node shows.
            shared: see `Wire`.
            limits: what strangers may take up.
            admitted: established inbound connections.
            establish: takes over what was negotiated.
        """
        self._loop = asyncio.get_running_loop()
        self._credentials = credentials
        self._shared = shared
        self._limits = limits
        self._admitted = admitted
        self._establish = establish
        self._waiting = Admission(limits.handshakes, limits.handshakes_per_address)
        self._negotiations: dict[Negotiation, str] = {}  # in the order in which they came
        self.listeners: list[socket.socket] = []

    def listen(self, listeners: Iterable[socket.socket]) -> None:
        """Accept connections from listening sockets; they are closed with this object."""
        for listener in listeners:
            listener.settimeout(0)
            self.listeners.append(listener)
            self._loop.add_reader(listener, self._accept, listener)

    def close(self) -> None:
        """Accept no more, and give up what is not established."""
        for listener in self.listeners:
            self._loop.remove_reader(listener)
            listener.close()
        self.listeners.clear()
        for negotiation in list(self._negotiations):
            negotiation.abort("the host is closed")

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_TURN):
            try:
                sock, address = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                logger.warning("cannot accept a connection: %s", error.strerror)
                if error.errno in _EXHAUSTED:
                    self._loop.remove_reader(listener)
                    self._loop.call_later(_PAUSE, self._resume, listener)
                return
            self._receive(sock, plain_address(address[0]))

    def _resume(self, listener: socket.socket) -> None:
        if listener in self.listeners:
            self._loop.add_reader(listener, self._accept, listener)

    def _receive(self, sock: socket.socket, address: str) -> None:
        if self._admitted.full(address) or not self._waiting.enter(address):
            sock.close()
            return
        prepare(sock)
        upgrade = Upgrade(self._credentials, initiator=False)
        try:
            negotiation = Negotiation(sock, self._shared, upgrade, self._limits.handshake, self._done)
        except OSError:  # gone already
            self._waiting.leave(address)
            sock.close()
            return
        self._negotiations[negotiation] = address
        if self._waiting.overfull:
            greediest = self._waiting.greediest()
            oldest = next(one for one, owner in self._negotiations.items() if owner == greediest)
            oldest.abort("too many wait")

    def _done(self, negotiation: Negotiation, error: Exception | None) -> None:
        self._waiting.leave(self._negotiations.pop(negotiation))
        if error is None:
            self._establish(negotiation)
        else:
            logger.debug("%s: %s", negotiation.wire.remote[0], error)
