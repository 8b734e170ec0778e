"""Accepts connections, keeps their number within limits and ends them in time."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket

from daemon.http import sockets
from daemon.http.connection import Connection, Observer, Service
from daemon.http.limits import Admission, Limits, Scope, client_address, is_loopback
from daemon.http.message import Handler
from daemon.http.refusals import Refusals
from daemon.http.sockets import open_listeners

logger = logging.getLogger(__name__)

# Connections that are accepted before others have their turn.
_TURN = 64
_TICK = 1.0
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# How long bodies may take to let go once their connections are cut.
_RELEASE = 5.0


class Server:
    """An HTTP/1.1 server for GET and HEAD."""

    def __init__(
        self,
        handler: Handler,
        observer: Observer,
        limits: Limits | None = None,
    ) -> None:
        """Make a server of the running event loop.

        Args:
            handler: answers requests.
            observer: is told of every request.
            limits: what clients may take up.
        """
        self._loop = asyncio.get_running_loop()
        limits = limits or Limits()
        self._service = Service(handler, observer, limits)
        self._admission = Admission(limits)
        self._refusals = Refusals()
        self._connections: set[Connection] = set()
        self._listeners: list[socket.socket] = []
        self._paused: list[socket.socket] = []
        self._timer: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def port(self) -> int:
        """The port that is listened on, where ``listen`` was asked for port 0."""
        port: int = self._listeners[0].getsockname()[1]
        return port

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._connections)

    def listen(self, address: str) -> None:
        """Start to serve on an address such as ``:5000``, ``10.0.0.1:5000`` or ``[::1]:5000``.

        Raises:
            ListenError: the address cannot be listened on.
        """
        for listener in open_listeners(address):
            self._listeners.append(listener)
            self._loop.add_reader(listener, self._accept, listener)
        if self._timer is None:
            self._tick()

    def adopt(self, sock: socket.socket, client: str) -> None:
        """Serve a connected, non-blocking socket, or reset it when there are too many.

        A reset is the cheapest refusal, and containerd goes on to the next host at once.
        """
        scope = self._admission.full(client)
        if scope is not None and not self._make_room(scope, client):
            sockets.reset(sock)
            self._service.observer.turned_away(scope)
            self._refusals.add(client, scope, self._loop.time())
            return
        self._admission.enter(client)
        self._connections.add(Connection(sock, client, self._service, self._ended))
        self._empty.clear()

    async def drain(self, seconds: float) -> None:
        """Accept nothing more, let answers finish for that long, then cut them; return when all is closed."""
        self._service.draining = True
        for listener in self._listeners:
            self._loop.remove_reader(listener)
            listener.close()
        self._listeners.clear()
        self._paused.clear()
        for connection in list(self._connections):
            connection.drain()
        if not await self._emptied(seconds):
            logger.info("connections that did not end in time are cut: %d", len(self._connections))
            for connection in list(self._connections):
                connection.abort()
            if not await self._emptied(_RELEASE):
                logger.warning("connections that do not let go: %d", len(self._connections))
        if self._timer is not None:
            self._timer.cancel()

    async def _emptied(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
                if self._service.tasks:
                    await asyncio.wait(self._service.tasks)
        except TimeoutError:
            return False
        return True

    def _tick(self) -> None:
        now = self._loop.time()
        for connection in list(self._connections):
            connection.expire(now)
        self._refusals.report(now)
        for listener in self._paused:
            self._loop.add_reader(listener, self._accept, listener)
        self._paused.clear()
        self._timer = self._loop.call_later(_TICK, self._tick)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_TURN):
            try:
                sock, address = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                # Either the network of one connection failed, or the process has no file descriptor left,
                # which a moment may change.
                logger.warning("cannot accept a connection: %s", error.strerror)
                if error.errno in _EXHAUSTED:
                    self._loop.remove_reader(listener)
                    self._paused.append(listener)
                return
            sock.settimeout(0)
            self.adopt(sock, client_address(address[0]))

    def _make_room(self, scope: Scope, client: str) -> bool:
        """Close the connection that has been idle for longest where the limit is reached."""
        idle = [
            (connection.idle_until, connection)
            for connection in self._connections
            if connection.idle_until is not None
            and (scope is not Scope.CLIENT or connection.client == client)
            and (scope is not Scope.REMOTE or not is_loopback(connection.client))
        ]
        if not idle:
            return False
        min(idle, key=lambda entry: entry[0])[1].drain()
        return True

    def _ended(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._admission.leave(connection.client)
        if not self._connections:
            self._empty.set()
