"""Addresses of nodes (multiformats/multiaddr): ``/ip4/10.0.0.1/tcp/5001/p2p/12D3KooW…``.

Only the protocols that occur between Spegel nodes are known. The bytes of an unknown protocol do not tell
where they end, so an address that has one cannot be read; in a list of addresses it is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NoReturn, Self

from daemon.libp2p import varint
from daemon.libp2p.identity import PeerId
from daemon.libp2p.varint import VarintError

MAX_LENGTH = 512
"""Bytes of an address; far more than two DNS names of the greatest length never occur."""

_DNS_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")
_ZONE = re.compile(r"[!-$&-.0-~]{1,64}")  # as Python, without "%"
_PORT = re.compile(r"[0-9]{1,5}")


class InvalidMultiaddrError(ValueError):
    """Text or bytes are no address, or one with protocols that are not known here."""


@dataclass(frozen=True, slots=True, eq=False)
class Protocol:
    """A part of an address: its name in text and how its value is written."""

    code: int
    name: str
    size: int | None
    """Bytes of the value; None when its length stands before it."""
    parse: Callable[[str], bytes]
    """Raises ValueError; what it returns is valid."""
    format: Callable[[bytes], str]
    check: Callable[[bytes], object] = len
    """Raises ValueError when bytes of the right size are still no value of this protocol."""


def _parse_ip6(text: str) -> bytes:
    if "%" in text:
        raise ValueError("a zone is a part of its own: /ip6zone/eth0/ip6/fe80::1")
    return IPv6Address(text).packed


def _format_ip6(value: bytes) -> str:
    address = IPv6Address(value)
    # Python writes ::ffff:102:304 up to 3.12 and as here from 3.13 on.
    return f"::ffff:{address.ipv4_mapped}" if address.ipv4_mapped else str(address)


def _parse_port(text: str) -> bytes:
    if not _PORT.fullmatch(text) or int(text) > 0xFFFF:
        raise ValueError("not a port number")
    return int(text).to_bytes(2)


def _text(code: int, name: str, pattern: re.Pattern[str]) -> Protocol:
    def parse(text: str) -> bytes:
        if not pattern.fullmatch(text):
            raise ValueError("not a name")
        return text.encode("ascii")

    def format_value(value: bytes) -> str:
        text = value.decode("ascii")
        if not pattern.fullmatch(text):
            raise ValueError("not a name")
        return text

    return Protocol(code, name, None, parse, format_value, format_value)


def _dns(code: int, name: str) -> Protocol:
    return _text(code, name, _DNS_NAME)


def _port(code: int, name: str) -> Protocol:
    return Protocol(code, name, 2, _parse_port, lambda value: str(int.from_bytes(value)))


IP4: Final = Protocol(
    4, "ip4", 4, lambda text: IPv4Address(text).packed, lambda value: str(IPv4Address(value))
)
TCP: Final = _port(6, "tcp")
IP6: Final = Protocol(41, "ip6", 16, _parse_ip6, _format_ip6)
IP6ZONE: Final = _text(42, "ip6zone", _ZONE)
DNS: Final = _dns(53, "dns")
DNS4: Final = _dns(54, "dns4")
DNS6: Final = _dns(55, "dns6")
DNSADDR: Final = _dns(56, "dnsaddr")
UDP: Final = _port(273, "udp")
P2P: Final = Protocol(
    421, "p2p", None, lambda text: PeerId.parse(text).raw, lambda value: str(PeerId(value)), PeerId
)
QUIC_V1: Final = Protocol(461, "quic-v1", 0, lambda _: b"", lambda _: "")

_KNOWN = (IP4, TCP, IP6, IP6ZONE, DNS, DNS4, DNS6, DNSADDR, UDP, P2P, QUIC_V1)
_BY_CODE = {protocol.code: protocol for protocol in _KNOWN}
_BY_NAME = {protocol.name: protocol for protocol in _KNOWN} | {"ipfs": P2P}  # ipfs is what p2p once was

_IP4_TCP_LENGTH = 1 + 4 + 1 + 2
_IP6_TCP_LENGTH = 1 + 16 + 1 + 2

_HOSTS = ((IP4,), (IP6,), (IP6ZONE, IP6), (DNS,), (DNS4,), (DNS6,))
_TCP_SHAPES = frozenset((*host, TCP, *tail) for host in _HOSTS for tail in ((), (P2P,)))


@dataclass(frozen=True, slots=True)
class Multiaddr:
    """An address. Equal addresses have equal bytes."""

    raw: bytes

    def __post_init__(self) -> None:
        raw = self.raw
        if len(raw) == _IP4_TCP_LENGTH and raw[0] == IP4.code and raw[5] == TCP.code:
            return  # nearly all addresses are of these two shapes, and every value is valid in them
        if len(raw) == _IP6_TCP_LENGTH and raw[0] == IP6.code and raw[17] == TCP.code:
            return
        if not 0 < len(raw) <= MAX_LENGTH:
            raise InvalidMultiaddrError(f"an address has 1 to {MAX_LENGTH} bytes, not {len(raw)}")
        try:
            for protocol, value in self.components():
                protocol.check(value)
        except (ValueError, VarintError) as error:
            raise InvalidMultiaddrError(f"{raw[:64].hex()} is not an address: {error}") from error

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address from its text; a slash at the end is allowed.

        Raises:
            InvalidMultiaddrError: the text is no address, or names a protocol that is not known here.
        """
        parts = iter(text.rstrip("/").split("/"))
        raw = bytearray()
        try:
            if next(parts):
                _refuse("it has to begin with a slash")
            for name in parts:
                protocol = _BY_NAME.get(name) or _refuse(f"the protocol {name[:32]!r} is not known here")
                raw += varint.encode(protocol.code)
                if protocol.size == 0:
                    continue
                value = protocol.parse(next(parts, ""))
                if protocol.size is None:
                    raw += varint.encode(len(value))
                raw += value
            return cls(bytes(raw))
        except ValueError as error:
            raise InvalidMultiaddrError(f"{text[:256]!r} is not an address: {error}") from error

    @classmethod
    def tcp(cls, ip: IPv4Address | IPv6Address, port: int) -> Self:
        """Make the address of a TCP port; an IPv6 address may have a zone, ``fe80::1%eth0``."""
        if isinstance(ip, IPv4Address):
            return cls.parse(f"/ip4/{ip}/tcp/{port}")
        zone = f"/ip6zone/{ip.scope_id}" if ip.scope_id else ""
        return cls.parse(f"{zone}/ip6/{str(ip).partition('%')[0]}/tcp/{port}")

    def components(self) -> Iterator[tuple[Protocol, bytes]]:
        """Yield protocol and value of each part."""
        raw, position = self.raw, 0
        while position < len(raw):
            code, position = _read_varint(raw, position)
            protocol = _BY_CODE.get(code)
            if protocol is None:
                raise InvalidMultiaddrError(f"the protocol with code {code} is not known here")
            size = protocol.size
            if size is None:
                size, position = _read_varint(raw, position)
            if size > len(raw) - position:
                raise InvalidMultiaddrError(f"{protocol.name} is cut off")
            yield protocol, raw[position : position + size]
            position += size

    def __str__(self) -> str:
        return "".join(
            f"/{protocol.name}/{protocol.format(value)}" if protocol.size != 0 else f"/{protocol.name}"
            for protocol, value in self.components()
        )

    @property
    def ip(self) -> IPv4Address | IPv6Address | None:
        """The IP address that this begins with, an IPv6 address with its zone; None when it is a name."""
        zone = ""
        for protocol, value in self.components():
            if protocol is IP4:
                return IPv4Address(value)
            if protocol is IP6:
                return IPv6Address(f"{IPv6Address(value)}%{zone}" if zone else value)
            if protocol is not IP6ZONE:
                break
            zone = value.decode("ascii")
        return None

    @property
    def dns_name(self) -> str | None:
        """The DNS name that this begins with, of whichever of the four protocols; None when it is an IP."""
        protocol, value = next(self.components())
        return value.decode("ascii") if protocol in (DNS, DNS4, DNS6, DNSADDR) else None

    @property
    def tcp_port(self) -> int | None:
        """The port, when this is a host and a TCP port with nothing but a peer ID behind them, else None."""
        protocols, values = zip(*self.components(), strict=True)
        return int.from_bytes(values[protocols.index(TCP)]) if protocols in _TCP_SHAPES else None

    @property
    def peer_id(self) -> PeerId | None:
        """The peer ID that this ends in."""
        *_, (protocol, value) = self.components()
        return PeerId(value) if protocol is P2P else None

    def encapsulate(self, other: Multiaddr) -> Multiaddr:
        """Put another address behind this one."""
        return Multiaddr(self.raw + other.raw)

    def with_peer_id(self, peer_id: PeerId) -> Multiaddr:
        """Return this address with ``/p2p/<peer ID>`` at its end, in place of the one it may have."""
        return Multiaddr((self.without_peer_id() or self).raw + _p2p(peer_id))

    def without_peer_id(self) -> Multiaddr | None:
        """Return this address without the peer ID at its end; None when nothing else is there."""
        peer_id = self.peer_id
        rest = self.raw.removesuffix(_p2p(peer_id)) if peer_id else self.raw
        return Multiaddr(rest) if rest else None


def known_addresses(raw: Iterable[bytes], limit: int) -> tuple[Multiaddr, ...]:
    """Return the first ``limit`` different addresses of a list from a peer, without those not understood."""
    found: dict[Multiaddr, None] = {}
    for one in raw:
        if len(found) >= limit:
            break
        try:
            found[Multiaddr(one)] = None
        except InvalidMultiaddrError:
            continue
    return tuple(found)


def _p2p(peer_id: PeerId) -> bytes:
    return varint.encode(P2P.code) + varint.encode(len(peer_id.raw)) + peer_id.raw


def _read_varint(raw: bytes, position: int) -> tuple[int, int]:
    read = varint.decode(raw, position)
    if read is None:
        raise InvalidMultiaddrError("it ends within a number")
    return read


def _refuse(message: str) -> NoReturn:
    raise InvalidMultiaddrError(message)
