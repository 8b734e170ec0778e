"""A router as the flags have it."""

from __future__ import annotations

import asyncio

from daemon.cli.commands import Registry
from daemon.cli.parser import parse
from daemon.metrics import Metrics
from daemon.routing.composition import make_router
from tests.daemon.routing.loopback import PATIENCE, listener, running


def router_and_metrics(*peers: str):
    with listener() as free:
        port = free.getsockname()[1]
    flags = ["--bootstrap-kind=static", f"--router-addr=127.0.0.1:{port}"]
    settings = parse(
        ["registry", *flags, *(f"--static-bootstrap-peers={peer}" for peer in peers)], {}
    ).command
    assert isinstance(settings, Registry)
    metrics = Metrics("test")
    router = make_router(settings, metrics)
    return router, metrics, f"/ip4/127.0.0.1/tcp/{port}/p2p/{router.info().id}"


def peers(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("spegel_router_peers")


async def test_a_metric_tells_how_many_nodes_it_knows() -> None:
    first, _, address = router_and_metrics()
    second, metrics, _ = router_and_metrics(address)
    assert peers(metrics) == 0
    async with running(first, second), asyncio.timeout(PATIENCE):
        while second.known == 0:
            await asyncio.sleep(0.01)
        assert peers(metrics) == 1
