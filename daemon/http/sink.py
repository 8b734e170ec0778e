"""The client's socket, as response bodies see it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import sys
import termios

from daemon.http.turns import Step, take_turn


class SocketSink:
    """Implements ``message.Sink``. Its owner closes the socket, and only once no body uses it any more."""

    def __init__(self, sock: socket.socket, stall: float) -> None:
        """Take the socket.

        Args:
            sock: non-blocking.
            stall: seconds that the client may take nothing.
        """
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._stall = stall
        self._waiter: asyncio.Future[None] | None = None
        self._stalled_at = 0.0
        self._queued = 0
        self._closed = asyncio.Event()

    def fileno(self) -> int:
        """Return the socket's file descriptor."""
        return self._socket.fileno()

    async def pump(self, step: Step) -> None:
        """Take a step whenever the socket takes more, until one is the last.

        Raises:
            TimeoutError: the socket took no more for too long.
            Exception: what ``step`` raises, but for BlockingIOError.
        """

        def progress() -> bool:
            more = step()
            self._progress()
            return more

        self._progress()
        self._waiter = self._loop.create_future()
        self._loop.add_writer(self._socket, take_turn, self._waiter, progress)
        try:
            await self._waiter
        finally:
            self._loop.remove_writer(self._socket)
            self._waiter = None

    def _progress(self) -> None:
        self._stalled_at = self._loop.time() + self._stall
        self._queued = self._queue()

    async def send(self, data: bytes | memoryview) -> None:
        """Write all of ``data``.

        Raises:
            ConnectionError: the client is gone.
            TimeoutError: it takes nothing for too long.
        """
        rest = memoryview(data)

        def step() -> bool:
            nonlocal rest
            rest = rest[self._socket.send(rest) :]
            return len(rest) > 0

        more = True
        with contextlib.suppress(BlockingIOError):
            more = step()
        if more:
            await self.pump(step)

    async def closed(self) -> None:
        """Return once the client has closed its end, be it only for sending."""
        await self._closed.wait()

    def input_ended(self) -> None:
        """Say that the client has closed its end."""
        self._closed.set()

    def expire(self, now: float) -> None:
        """Give up waiting for a client that takes nothing.

        It may be slow, and the socket takes more only once a third of its buffer is free: what counts is that
        something is taken.
        """
        if self._waiter is None or self._waiter.done() or now < self._stalled_at:
            return
        queued = self._queue()
        if queued < self._queued:
            self._queued = queued
            self._stalled_at = now + self._stall
        else:
            self._waiter.set_exception(TimeoutError("the client takes nothing of the answer"))

    def _queue(self) -> int:
        """Return the bytes that the client has not acknowledged."""
        return int.from_bytes(fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
