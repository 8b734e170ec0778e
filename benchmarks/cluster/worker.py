"""One process with some routers: does what lines of JSON on its input say, and answers on its output."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from daemon.bootstrap.base import Candidate
from daemon.kademlia.key import content_key
from daemon.kademlia.message import Message, MessageType
from daemon.libp2p import yamux
from daemon.libp2p.host import DialError, Limits
from daemon.libp2p.host.connection import Connection
from daemon.libp2p.host.dialer import Dialer
from daemon.libp2p.host.negotiation import Negotiation
from daemon.libp2p.identity import PrivateKey
from daemon.libp2p.multiaddr import Multiaddr
from daemon.libp2p.noise import Credentials
from daemon.libp2p.peer_info import PeerInfo
from daemon.routing.dht_network import DhtNetwork
from daemon.routing.libp2p import Libp2pRouter

_LIMITS = Limits(connections=4096, per_address=4096, handshakes=4096, handshakes_per_address=4096)
"""All nodes are at one address."""


def key(number: int) -> str:
    """Return one of the keys that nodes advertise and look for."""
    return f"sha256:{number:064x}"


class Routers:
    """The routers of this process, and what can be done with them."""

    def __init__(self) -> None:
        self._routers: list[Libp2pRouter] = []
        self._running: list[asyncio.Task[None]] = []

    async def start(self, count: int, first: Sequence[str]) -> list[str]:
        """Start routers that begin with a node; return their addresses."""
        for _ in range(count):
            listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
            router = Libp2pRouter(
                PrivateKey.generate(),
                [listener],
                _Source(first),
                5000,
                limits=_LIMITS,
            )
            self._routers.append(router)
            first = first or router.addresses()[:1]
            self._running.append(asyncio.create_task(router.run()))
        await asyncio.sleep(0)
        return [router.addresses()[0] for router in self._routers]

    async def known(self) -> int:
        """Return how many peers the router that knows the fewest knows."""
        return min([len(await router.peers()) for router in self._routers])

    async def advertise(self, first: int, count: int) -> None:
        """Let the routers advertise so many keys each, numbered from the first router's first on."""
        for number, router in enumerate(self._routers):
            start = first + number * count
            await router.advertise(map(key, range(start, start + count)))

    async def records(self) -> int:
        """Return how many provider records the routers hold."""
        return sum(len(router._node.store) for router in self._routers)

    async def look_up(self, numbers: Sequence[int], pause: float = 0.0) -> list[float]:
        """Look for keys one after the other; return the seconds to each first peer, or -1.

        Before each it pauses for a random time, of ``pause`` seconds on average.
        """
        times = []
        for number in numbers:
            if pause:
                await asyncio.sleep(random.expovariate(1 / pause))
            started = time.perf_counter()
            seconds = -1.0
            async for _ in random.choice(self._routers).lookup(key(number), 1):
                seconds = time.perf_counter() - started
                break
            times.append(seconds)
        return times

    async def handshakes(self, target: str, count: int) -> float:
        """Connect as so many strangers, one after the other; return the seconds."""
        address = _bare(target)
        shared = memoryview(bytearray(64 * 1024))
        dialers = [
            Dialer(Credentials(PrivateKey.generate(), [yamux.PROTOCOL]), shared, 5, _hang_up)
            for _ in range(count)
        ]
        started = time.perf_counter()
        for dialer in dialers:
            try:
                await dialer.dial([address])
            except DialError as error:
                if "hung up" not in str(error):
                    raise
        return time.perf_counter() - started

    async def send(self, target: str, count: int) -> float:
        """Send records to a router, 256 at once; return the seconds until it has taken them all."""
        router = self._routers[0]
        identity = Multiaddr.parse(target).peer_id
        assert identity is not None
        peer = PeerInfo(identity, (_bare(target),))
        network = DhtNetwork(router._host)
        record = (router.info(),)
        messages = [
            Message(MessageType.ADD_PROVIDER, content_key(f"sent {number}"), (), record)
            for number in range(count)
        ]
        started = time.perf_counter()
        for start in range(0, count, 256):
            await network.send(peer, messages[start : start + 256])
        return time.perf_counter() - started

    async def usage(self) -> tuple[float, int]:
        """Return processor seconds and resident bytes of this process."""
        own = resource.getrusage(resource.RUSAGE_SELF)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return own.ru_utime + own.ru_stime, pages * resource.getpagesize()


class _Source:
    def __init__(self, addresses: Sequence[str]) -> None:
        self._candidates = [Candidate(None, (Multiaddr.parse(text),)) for text in addresses]

    async def find(self) -> Sequence[Candidate]:
        return self._candidates


def _bare(text: str) -> Multiaddr:
    address = Multiaddr.parse(text).without_peer_id()
    assert address is not None
    return address


def _hang_up(negotiation: Negotiation) -> Connection:
    negotiation.wire.abort()
    raise DialError("hung up")


async def _main() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    routers = Routers()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        name, *arguments = json.loads(line)
        print(json.dumps(await getattr(routers, name)(*arguments)), flush=True)


if __name__ == "__main__":
    asyncio.run(_main())
