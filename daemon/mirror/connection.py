"""A TCP connection to a peer, on non-blocking sockets of its own.

No asyncio transport: a transport reads ahead into Python, and what was read can no longer be spliced.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from itertools import chain, zip_longest

from daemon.http.turns import Step, take_turn
from daemon.mirror.fault import Fault, PeerError

Address = IPv4Address | IPv6Address

_ATTEMPT_DELAY = 0.1
"""Seconds from one address to the next: RFC 8305 allows no less, and peers are near."""
_ADDRESSES = 8
_MOST_WINDOW = 512 * 1024
"""Bytes of what was received and not read; the kernel would let it grow to megabytes for each connection. It
takes twice that: the other half is for its own data about the packets."""
_LEAST_WINDOW = 64 * 1024
_WINDOWS = 2 * 1024 * 1024
"""Bytes that all peers together are let send ahead, about."""
_MARKS = 4
"""How often whoever reads is woken for a whole window; the peer fills the rest of it meanwhile."""


class Connection:
    """One connection; whoever has it closes it."""

    def __init__(self, sock: socket.socket, address: Address) -> None:
        self.address = address
        self._socket = sock
        self._window = _MOST_WINDOW
        self._most_mark = _MOST_WINDOW // _MARKS
        self._mark = 1
        self._resting = True

    def fileno(self) -> int:
        """Return the non-blocking socket."""
        return self._socket.fileno()

    def share(self, among: int) -> None:
        """Let the peer send no more ahead than one of so many shares.

        While something may be under way the buffer keeps its size, for what does not fit in is dropped, and a
        fifth of a second passes until it comes again; the kernel is only asked to let the peer send less.
        """
        window = min(max(_WINDOWS // among, _LEAST_WINDOW), _MOST_WINDOW)
        if self._resting or window > self._window:
            self._window = window
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, window)
        # A system may allow less (net.core.rmem_max): what is waited for has to fit in.
        room = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
        self._most_mark = min(window, room) // _MARKS
        self.expect(min(self._mark, self._most_mark))

    def expect(self, count: int) -> None:
        """Say how many bytes are still to come.

        ``pump`` is woken only once all of them are there, or as many as are worth it. Zero means that nobody
        knows: whatever comes is worth it.
        """
        mark = max(min(count, self._most_mark), 1)
        if mark != self._mark:
            self._mark = mark
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, mark)

    def rest(self) -> None:
        """Note that nothing was asked for that has not come."""
        self._resting = True
        self.expect(0)

    def close(self) -> None:
        """Close at once, whatever is still on its way."""
        self._socket.close()

    async def send(self, data: bytes) -> None:
        """Write all of ``data``; raises PeerError."""
        self._resting = False
        try:
            await asyncio.get_running_loop().sock_sendall(self._socket, data)
        except OSError as error:
            raise _broken(error) from error

    async def receive(self, count: int) -> bytes:
        """Read up to ``count`` bytes, at least one; raises PeerError at the end too."""
        try:
            data = await asyncio.get_running_loop().sock_recv(self._socket, count)
        except OSError as error:
            raise _broken(error) from error
        if not data:
            raise PeerError(Fault.UNREACHABLE, "the peer closed the connection")
        return data

    def receive_into(self, buffer: memoryview) -> int:
        """Read what is there; raises BlockingIOError when nothing is, and PeerError."""
        try:
            count = self._socket.recv_into(buffer)
        except BlockingIOError:
            raise
        except OSError as error:
            raise _broken(error) from error
        if not count:
            raise PeerError(Fault.UNREACHABLE, "the peer closed the connection")
        return count

    def peek(self) -> bytes | None:
        """Return whether something unread is there: None when not, empty when the connection has ended."""
        try:
            return self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    async def pump(self, step: Step, seconds: float) -> None:
        """Take a step whenever there are data or the end, until one is the last or the time is over.

        What is too little to be woken for is left to who comes back when the time is over.
        """
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        loop.add_reader(self._socket, take_turn, ended, step)
        timer = loop.call_later(seconds, take_turn, ended, lambda: False)
        try:
            await ended
        finally:
            timer.cancel()
            loop.remove_reader(self._socket)


async def connect(addresses: Sequence[Address], port: int, limit: float) -> Connection:
    """Connect to whichever address of a peer takes the connection first ("happy eyeballs", RFC 8305).

    Args:
        addresses: of one and the same peer.
        port: where its registry listens.
        limit: seconds for all of it.

    Raises:
        PeerError: none took it.
    """
    try:
        async with asyncio.timeout(limit):
            return await _first(_interleaved(addresses), port)
    except TimeoutError as error:
        raise PeerError(Fault.UNREACHABLE, f"no connection within {limit} s") from error


async def _first(addresses: Sequence[Address], port: int) -> Connection:
    waiting = list(addresses)
    attempts: set[asyncio.Task[Connection]] = set()
    failure = PeerError(Fault.UNREACHABLE, "the peer has no address")
    try:
        while waiting or attempts:
            if waiting:
                attempts.add(asyncio.create_task(_attempt(waiting.pop(0), port)))
            delay = _ATTEMPT_DELAY if waiting else None
            done, attempts = await asyncio.wait(attempts, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
            for attempt in done:
                try:
                    connection = attempt.result()
                except PeerError as error:
                    failure = error
                else:
                    attempts |= done - {attempt}
                    return connection
        raise failure
    finally:
        for attempt in attempts:
            attempt.cancel()
        for outcome in await asyncio.gather(*attempts, return_exceptions=True):
            if isinstance(outcome, Connection):
                outcome.close()


async def _attempt(address: Address, port: int) -> Connection:
    try:
        sock = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET)
        try:
            sock.settimeout(0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _MOST_WINDOW)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(sock, (str(address), port))
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        raise PeerError(Fault.UNREACHABLE, f"no connection to {address} port {port}: {error}") from error
    return Connection(sock, address)


def _interleaved(addresses: Sequence[Address]) -> list[Address]:
    """Return the addresses with the families by turns, version 6 first (RFC 8305, section 4)."""
    six = [address for address in addresses if address.version == 6]
    four = [address for address in addresses if address.version == 4]
    turns = chain.from_iterable(zip_longest(six, four))
    return [address for address in turns if address is not None][:_ADDRESSES]


def _broken(error: OSError) -> PeerError:
    return PeerError(Fault.UNREACHABLE, f"the connection broke: {error}")
