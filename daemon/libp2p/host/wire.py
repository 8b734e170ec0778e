"""A connected TCP socket on the event loop, without tasks: callbacks for input, a buffer for output.

asyncio's own transports would do, at the price of a task for every accepted socket and of memory for each
connection; a node has hundreds of mostly silent ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable

CONGESTED = 64 * 1024
"""Bytes that wait for the socket from which on nobody should write more."""
FULL = 1024 * 1024
"""Bytes from which on the peer is taken not to read at all. Answers to its control frames get here alone."""

BUFFER = 16 * 1024
"""Bytes that are read at once. All sockets of a host share one such buffer."""
_KERNEL_BUFFER = 128 * 1024
_LINGER = 1.0
"""Seconds in which the last bytes of a connection have to go out."""

_WOULD_BLOCK = (BlockingIOError, InterruptedError)


class Wire:
    """One socket. ``receive`` gets what comes in and must be done with the view when it returns."""

    __slots__ = (
        "_closing",
        "_fd",
        "_loop",
        "_lost",
        "_output",
        "_paused",
        "_shared",
        "_sock",
        "drained",
        "receive",
        "remote",
    )

    def __init__(
        self,
        sock: socket.socket,
        shared: memoryview,
        receive: Callable[[memoryview], None],
        lost: Callable[[str], None],
    ) -> None:
        """Take over a connected, non-blocking socket.

        Args:
            sock: closed by this object.
            shared: what all sockets read into; it is only used within a callback.
            receive: is given what came in.
            lost: is called once, with the reason, unless this side closes first.
        """
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._fd = sock.fileno()
        self._shared = shared
        self._lost = lost
        self._output = bytearray()
        self._closing: asyncio.TimerHandle | None = None
        self._paused = False
        self.receive = receive
        self.drained: Callable[[], None] = _nothing
        """Called when the buffer is no longer congested."""
        host, port, *_ = sock.getpeername()
        self.remote: tuple[str, int] = (plain_address(host), port)
        """IP address, without zone and IPv4 as such, and port."""
        self._loop.add_reader(self._fd, self._readable)

    @property
    def buffered(self) -> int:
        """Bytes that wait for the socket."""
        return len(self._output)

    def replace(self, receive: Callable[[memoryview], None], lost: Callable[[str], None]) -> None:
        """Hand the socket to another owner."""
        self.receive = receive
        self._lost = lost

    def pause(self) -> None:
        """Read nothing until ``resume``."""
        if not self._paused and self._fd >= 0:
            self._paused = True
            self._loop.remove_reader(self._fd)

    def resume(self) -> None:
        """Read on."""
        if self._paused:
            self._paused = False
            if self._fd >= 0 and self._closing is None:
                self._loop.add_reader(self._fd, self._readable)

    def write(self, data: bytes | bytearray) -> None:
        """Send, now or as soon as the socket takes it."""
        if self._fd < 0 or self._closing is not None:
            return
        if self._output:
            self._output += data
        else:
            try:
                sent = self._sock.send(data)
            except _WOULD_BLOCK:
                sent = 0
            except OSError as error:
                self._loop.call_soon(self._fail, _reason(error))
                return
            if sent == len(data):
                return
            self._output += memoryview(data)[sent:]
            self._loop.add_writer(self._fd, self._writable)
        if len(self._output) > FULL:
            self._loop.call_soon(self._fail, "the peer does not read")

    def close(self) -> None:
        """Close once everything is sent, or after a moment; nothing is read or reported any more."""
        if self._fd < 0 or self._closing is not None:
            return
        if not self._output:
            self.abort()
            return
        self._loop.remove_reader(self._fd)
        self._closing = self._loop.call_later(_LINGER, self.abort)

    def abort(self) -> None:
        """Close at once."""
        if self._fd < 0:
            return
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        if self._closing is not None:
            self._closing.cancel()
        self._fd = -1
        self._output.clear()
        self._sock.close()

    def _readable(self) -> None:
        try:
            size = self._sock.recv_into(self._shared)
        except _WOULD_BLOCK:
            return
        except OSError as error:
            self._fail(_reason(error))
            return
        if size:
            self.receive(self._shared[:size])
        else:
            self._fail("closed by the peer")

    def _writable(self) -> None:
        try:
            sent = self._sock.send(self._output)
        except _WOULD_BLOCK:
            return
        except OSError as error:
            self._fail(_reason(error))
            return
        congested = len(self._output) > CONGESTED
        del self._output[:sent]
        if not self._output:
            self._loop.remove_writer(self._fd)
            if self._closing is not None:
                self.abort()
                return
        if congested and len(self._output) <= CONGESTED:
            self.drained()

    def _fail(self, reason: str) -> None:
        if self._fd < 0:
            return
        told = self._closing is not None
        self.abort()
        if not told:
            self._lost(reason)


def prepare(sock: socket.socket) -> None:
    """Set a socket's options: small messages at once, and bounded buffers in the kernel."""
    sock.settimeout(0)
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BUFFER)


def plain_address(text: str) -> str:
    """Return an IP address as the kernel gives it without its zone, and IPv4 addresses as such."""
    text = text.partition("%")[0]
    return text.removeprefix("::ffff:") if "." in text else text


def _reason(error: OSError) -> str:
    if error.errno in (errno.ECONNRESET, errno.EPIPE):
        return "reset by the peer"
    return error.strerror or os.strerror(error.errno or 0)


def _nothing() -> None:
    pass
