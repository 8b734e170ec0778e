"""Peers behind a name: in Kubernetes, a headless service of all nodes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import ip_address

from daemon.bootstrap.base import BootstrapError, Candidate
from daemon.libp2p.multiaddr import Multiaddr

_MAX_PER_VERSION = 3
"""The lowest addresses of either IP version are asked, so that all nodes begin with the same few."""


class DnsSource:
    """The addresses of a domain, without IDs or ports."""

    def __init__(self, domain: str) -> None:
        self._domain = domain

    async def find(self) -> Sequence[Candidate]:
        """Look the domain up.

        Raises:
            BootstrapError: it has no addresses, or nobody can say.
        """
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(self._domain, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise BootstrapError(f"{self._domain} cannot be looked up: {error}") from error
        addresses = {ip_address(sockaddr[0]) for *_, sockaddr in found}
        return [
            Candidate(None, (Multiaddr.parse(f"/ip{version}/{address}"),))
            for version in (4, 6)
            for address in sorted(one for one in addresses if one.version == version)[:_MAX_PER_VERSION]
        ]
