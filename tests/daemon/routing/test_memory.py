"""The in-memory router."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from ipaddress import IPv4Address, IPv6Address

import pytest

from daemon.metrics import Metrics
from daemon.routing.base import Peer, Router
from daemon.routing.memory import Hub, MemoryRouter
from tests.daemon.routing.conformance import DIGEST, PORT, RouterConformance, find


def node(number: int) -> Peer:
    return Peer(f"node-{number}", (IPv4Address(f"127.0.0.{number}"), IPv6Address(number)), PORT)


@asynccontextmanager
async def network(count: int) -> AsyncIterator[Sequence[Router]]:
    hub = Hub()
    routers = [MemoryRouter(hub, node(number)) for number in range(1, count + 1)]
    running = [asyncio.create_task(router.run()) for router in routers]
    await asyncio.sleep(0)
    try:
        yield routers
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    assert not hub.members
    assert not hub.holders


class TestMemoryRouter(RouterConformance):
    def network(self, count: int) -> AbstractAsyncContextManager[Sequence[Router]]:
        return network(count)


async def test_a_node_that_stopped_is_found_no_more() -> None:
    hub = Hub()
    one, two = MemoryRouter(hub, node(1)), MemoryRouter(hub, node(2))
    await two.advertise([DIGEST])
    assert await find(one, DIGEST) == [], "it does not run yet"
    running = asyncio.create_task(two.run())
    await asyncio.sleep(0)
    assert await find(one, DIGEST) == [node(2)]
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await find(one, DIGEST) == []


async def test_found_peers_are_timed() -> None:
    metrics = Metrics("test")
    hub = Hub()
    one, two = MemoryRouter(hub, node(1), metrics.resolve_duration), MemoryRouter(hub, node(2))
    hub.members["node-2"] = node(2)

    def count() -> float | None:
        sample = "spegel_resolve_duration_seconds_count"
        return metrics.registry.get_sample_value(sample, {"router": "memory"})

    assert await find(one, DIGEST) == []
    assert count() is None
    await two.advertise([DIGEST])
    await find(one, DIGEST)
    assert count() == 1
