"""From addresses to a connection: all are tried, a little after one another, and the first one wins."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from daemon.libp2p.host.connection import Connection
from daemon.libp2p.host.errors import DialError, SelfDialError
from daemon.libp2p.host.negotiation import Negotiation, NegotiationError
from daemon.libp2p.host.upgrade import Upgrade
from daemon.libp2p.host.wire import prepare
from daemon.libp2p.identity import PeerId
from daemon.libp2p.multiaddr import DNS, DNS4, DNS6, Multiaddr
from daemon.libp2p.noise import Credentials, PeerMismatchError

_STAGGER = 0.25
"""Seconds after which the next address is tried as well (RFC 8305)."""
_MAX_ADDRESSES = 8
"""Of one peer, or of one name, tried in one dial."""
_FAMILIES = {DNS: socket.AF_UNSPEC, DNS4: socket.AF_INET, DNS6: socket.AF_INET6}
"""What a name is looked up for; without DNSADDR, whose names stand for more than IP addresses."""


class Dialer:
    """Makes connections to addresses."""

    def __init__(
        self,
        credentials: Credentials,
        shared: memoryview,
        seconds: float,
        establish: Callable[[Negotiation], Connection],
        loopback: Sequence[IPv4Address | IPv6Address] = (),
    ) -> None:
        """Prepare to dial.

        Args:
            credentials: what this node shows.
            shared: see `Wire`.
            seconds: what one dial may take, all in all.
            establish: makes a connection of what was negotiated; raises DialError.
            loopback: this node's own addresses, where several nodes share the loopback of a machine: others
                on it are to know the node by the address that it dials from.
        """
        self._credentials = credentials
        self._shared = shared
        self._seconds = seconds
        self._establish = establish
        self._loopback = loopback

    async def dial(self, addresses: Sequence[Multiaddr], expected: PeerId | None = None) -> Connection:
        """Connect to whoever is at one of the addresses, or to none but ``expected``.

        Raises:
            DialError: nobody is to be reached, or not the one who is expected.
        """
        left = deque(_in_order(addresses)[:_MAX_ADDRESSES])
        if not left:
            raise DialError("there is no TCP address to dial")
        errors: list[DialError] = []
        attempts: set[asyncio.Task[Connection]] = set()
        try:
            async with asyncio.timeout(self._seconds):
                while left or attempts:
                    if left:
                        attempts.add(asyncio.create_task(self._attempt(left.popleft(), expected)))
                    timeout = _STAGGER if left else None
                    done, attempts = await asyncio.wait(
                        attempts, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
                    )
                    for attempt in done:
                        error = attempt.exception()
                        if error is None:
                            return attempt.result()
                        if not isinstance(error, DialError):
                            raise error
                        errors.append(error)
        except TimeoutError:
            errors.append(DialError(f"no answer within {self._seconds:g} s"))
        finally:
            for attempt in attempts:
                attempt.cancel()
            await asyncio.gather(*attempts, return_exceptions=True)
        for error in errors:
            if isinstance(error, SelfDialError):
                raise error
        raise DialError("; ".join(map(str, errors)))

    async def _attempt(self, address: Multiaddr, expected: PeerId | None) -> Connection:
        try:
            if address.dns_name is not None:
                return await self.dial(await _look_up(address), expected)
            sock = await _connect(address, self._loopback)
            return await self._negotiate(sock, expected)
        except (OSError, NegotiationError, PeerMismatchError) as error:
            reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
            raise DialError(f"{address}: {reason}") from error

    async def _negotiate(self, sock: socket.socket, expected: PeerId | None) -> Connection:
        result: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()

        def done(negotiation: Negotiation, error: Exception | None) -> None:
            try:
                if error is not None:
                    raise error
                connection = self._establish(negotiation)
            except (DialError, NegotiationError, PeerMismatchError) as failure:
                if not result.done():
                    result.set_exception(failure)
            else:
                if not result.done():
                    result.set_result(connection)

        upgrade = Upgrade(self._credentials, initiator=True, expected=expected)
        negotiation = Negotiation(sock, self._shared, upgrade, self._seconds, done)
        try:
            return await result
        finally:
            negotiation.abort("the dial was given up")


async def _look_up(address: Multiaddr) -> list[Multiaddr]:
    """Return what an address that begins with a name stands for."""
    protocol, _ = next(address.components())
    name, port = str(address.dns_name), address.tcp_port or 0
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(name, port, family=_FAMILIES[protocol], type=socket.SOCK_STREAM)
    except socket.gaierror as error:  # its number is none of errno's
        raise DialError(f"{address}: {error.strerror}") from error
    except UnicodeError as error:  # a part of it is empty, or longer than 63 characters
        raise DialError(f"{address}: not a name: {error}") from error
    return [Multiaddr.tcp(ip_address(sockaddr[0]), port) for *_, sockaddr in found]


async def _connect(address: Multiaddr, loopback: Sequence[IPv4Address | IPv6Address]) -> socket.socket:
    loop = asyncio.get_running_loop()
    target: tuple[object, ...]
    if isinstance(ip := address.ip, IPv4Address):
        family, target = socket.AF_INET, (str(ip), address.tcp_port)
    else:
        assert ip is not None  # noqa: S101 (what has a TCP port and no name has an IP)
        scope = socket.if_nametoindex(ip.scope_id) if ip.scope_id else 0
        family, target = socket.AF_INET6, (str(ip).partition("%")[0], address.tcp_port, 0, scope)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        prepare(sock)
        if ip.is_loopback:
            source = next((own for own in loopback if own.version == ip.version), None)
            if source is not None:
                sock.bind((str(source), 0))
        await loop.sock_connect(sock, target)
    except BaseException:
        sock.close()
        raise
    return sock


def _in_order(addresses: Sequence[Multiaddr]) -> list[Multiaddr]:
    """Return the TCP addresses, without those said twice, IPv6 and others in turn."""
    usable = [address for address in dict.fromkeys(addresses) if address.tcp_port]
    six = [address for address in usable if address.ip is not None and address.ip.version == 6]
    rest = [address for address in usable if address not in six]
    pairs = itertools.zip_longest(six, rest)
    return [address for pair in pairs for address in pair if address is not None]
