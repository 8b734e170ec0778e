"""The libp2p router: several of them on loopback, each found by the one before."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from ipaddress import IPv4Address, IPv6Address

from daemon.bootstrap.base import Candidate
from daemon.libp2p.host import Limits
from daemon.libp2p.identity import PrivateKey
from daemon.metrics import Metrics
from daemon.routing.base import Router
from daemon.routing.libp2p import Libp2pRouter
from tests.daemon.routing.conformance import PORT, RouterConformance


def loopback(version: int) -> Iterable[IPv4Address | IPv6Address]:
    return [IPv4Address("127.0.0.1")] if version == 4 else []


def listener() -> socket.socket:
    sock = socket.create_server(("0.0.0.0", 0), backlog=128)
    sock.settimeout(0)
    return sock


class Others:
    """Names the first of some routers as the one to begin with."""

    def __init__(self, routers: Sequence[Libp2pRouter]) -> None:
        self._routers = routers

    async def find(self) -> Sequence[Candidate]:
        info = self._routers[0].info()
        return [Candidate(info.id, info.addresses)]


@asynccontextmanager
async def network(count: int, metrics: Metrics | None = None) -> AsyncIterator[Sequence[Libp2pRouter]]:
    routers: list[Libp2pRouter] = []
    source = Others(routers)
    limits = Limits(per_address=1000, handshakes_per_address=1000)
    duration = metrics.resolve_duration if metrics else None
    for _ in range(count):
        identity = PrivateKey.generate()
        routers.append(
            Libp2pRouter(
                identity, [listener()], source, PORT, duration, limits=limits, own_addresses=loopback
            )
        )
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(router.run()) for router in routers]
        await asyncio.sleep(0)  # they listen
        for router in routers:
            while len(await router.peers()) < count - 1:
                await asyncio.sleep(0.01)
        yield routers
        for task in running:
            task.cancel()


class TestLibp2pRouter(RouterConformance):
    def network(self, count: int) -> AbstractAsyncContextManager[Sequence[Router]]:
        return network(count)

    async def expire(self) -> None:
        await asyncio.sleep(0)
