"""Networks of libp2p routers in this process, all on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address

from daemon.bootstrap.base import Candidate
from daemon.libp2p.host import Limits
from daemon.libp2p.identity import PrivateKey
from daemon.metrics import Metrics
from daemon.routing.libp2p import Libp2pRouter
from tests.daemon.routing.conformance import PORT

LIMITS = Limits(per_address=1000, handshakes=1000, handshakes_per_address=1000)
"""All nodes are at one address."""
PATIENCE = 30.0
"""Seconds for whatever is waited for; only a broken program needs them."""


def own_addresses(version: int) -> Iterable[IPv4Address | IPv6Address]:
    """Announce loopback, which nodes do not do of themselves."""
    return [IPv4Address("127.0.0.1")] if version == 4 else []


def listener() -> socket.socket:
    """Listen on any port."""
    return socket.create_server(("0.0.0.0", 0), backlog=128)


class Others:
    """Names the first of some routers as the one to begin with."""

    def __init__(self) -> None:
        self.candidates: list[Candidate] = []

    async def find(self) -> Sequence[Candidate]:
        return self.candidates


def make_router(
    source: Others,
    metrics: Metrics | None = None,
    own: Callable[[int], Iterable[IPv4Address | IPv6Address]] = own_addresses,
    identity: PrivateKey | None = None,
) -> Libp2pRouter:
    """Make a router; the first one that is made is where others begin."""
    router = Libp2pRouter(
        identity or PrivateKey.generate(),
        [listener()],
        source,
        PORT,
        metrics.resolve_duration if metrics else None,
        limits=LIMITS,
        own_addresses=own,
    )
    if not source.candidates:
        info = router.info()
        source.candidates.append(Candidate(info.id, info.addresses))
    return router


@asynccontextmanager
async def running(*routers: Libp2pRouter) -> AsyncIterator[None]:
    """Run routers."""
    async with asyncio.TaskGroup() as tasks:
        tasks_of_routers = [tasks.create_task(router.run()) for router in routers]
        await asyncio.sleep(0)  # they listen
        yield
        for task in tasks_of_routers:
            task.cancel()


async def until_known(router: Libp2pRouter, others: int) -> None:
    """Wait until a router knows so many others."""
    async with asyncio.timeout(PATIENCE):
        while len(await router.peers()) < others:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def network(count: int, metrics: Metrics | None = None) -> AsyncIterator[Sequence[Libp2pRouter]]:
    """Run routers that all know each other."""
    source = Others()
    routers = [make_router(source, metrics) for _ in range(count)]
    async with running(*routers):
        for router in routers:
            await until_known(router, count - 1)
        yield routers
