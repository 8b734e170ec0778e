"""The addresses of this machine that others may reach it at.

A node has many addresses that nobody else can use, or that mean another node everywhere else: of bridges, of
the overlay network, of every service (kube-ipvs0). The one that others know a node by is nearly always that
from which it sends to the world, so it alone is announced; where there is no way to the world, all are.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from daemon.libp2p.multiaddr import Multiaddr

IpAddress = IPv4Address | IPv6Address

_WORLD = {4: (socket.AF_INET, "192.0.2.1"), 6: (socket.AF_INET6, "2001:db8::1")}
"""Addresses of documentation; nothing is ever sent there."""
_FIB_TRIE = Path("/proc/net/fib_trie")
_LOCAL = re.compile(r"\|-- ([0-9.]+)\n +/32 host LOCAL")
_IF_INET6 = Path("/proc/net/if_inet6")
_UNUSABLE = 0x08 | 0x40  # flags of if_inet6: another machine has the address; not known yet whether one has
_GLOBAL = "00"  # scope


def announced_addresses(version: int) -> list[IpAddress]:
    """Return this machine's addresses of an IP version that others may use."""
    outward = _outward(version)
    found = [outward] if outward is not None else (_all_ip4() if version == 4 else _all_ip6())
    return [address for address in dict.fromkeys(found) if is_announced(address)]


def listening_addresses(
    listeners: Iterable[socket.socket], own_addresses: Callable[[int], Iterable[IpAddress]]
) -> tuple[Multiaddr, ...]:
    """Return where others reach TCP sockets that listen.

    ``own_addresses`` returns, for an IP version, what stands for listening on all addresses.
    """
    found: dict[Multiaddr, None] = {}
    for listener in listeners:
        host, port, *_ = listener.getsockname()
        ip = ip_address(host)
        ips: Iterable[IpAddress]
        if not ip.is_unspecified:
            # Who listens on loopback alone is meant for this machine, and has nothing else to announce.
            ips = [ip] if is_announced(ip) or ip.is_loopback else []
        elif ip.version == 4:
            ips = own_addresses(4)
        elif listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
            ips = own_addresses(6)
        else:
            ips = [*own_addresses(4), *own_addresses(6)]
        found.update((Multiaddr.tcp(one, port), None) for one in ips)
    return tuple(found)


def loopback_addresses(listeners: Iterable[socket.socket]) -> list[IpAddress]:
    """Return the loopback addresses that are listened on by name."""
    addresses = [ip_address(listener.getsockname()[0]) for listener in listeners]
    return [address for address in addresses if address.is_loopback]


def is_announced(address: IpAddress) -> bool:
    """Tell whether an address means the same machine to others."""
    return not (
        address.is_loopback or address.is_unspecified or address.is_link_local or address.is_multicast
    )


def _outward(version: int) -> IpAddress | None:
    """Return the address from which the kernel sends to the world."""
    family, world = _WORLD[version]
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((world, 9))
            text = probe.getsockname()[0]
    except OSError:
        return None  # no way there, or no such family
    address = IPv4Address(text) if version == 4 else IPv6Address(text)
    return address if is_announced(address) else None


def _all_ip4() -> list[IPv4Address]:
    return [IPv4Address(text) for text in _LOCAL.findall(_read(_FIB_TRIE))]


def _all_ip6() -> list[IPv6Address]:
    lines = (line.split() for line in _read(_IF_INET6).splitlines())
    return [
        IPv6Address(bytes.fromhex(packed))
        for packed, _, _, scope, flags, *_ in lines
        if scope == _GLOBAL and not int(flags, 16) & _UNUSABLE
    ]


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except OSError:
        return ""  # built without that version of IP
