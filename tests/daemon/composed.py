"""The daemon as ``spegel registry`` composes it, but with the router in memory.

Daemons of one process share a network.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from ipaddress import ip_address
from typing import Any

from daemon.cli.commands import Registry as Settings
from daemon.metrics import Metrics
from daemon.routing.base import Peer
from daemon.routing.memory import Hub, MemoryRouter
from daemon.run import Daemon, read_inputs

LIMIT = 20.0
"""Seconds for whatever is waited for; only a broken program needs them."""


class Network(Hub):
    """A hub that tells when something was advertised."""

    def __init__(self) -> None:
        super().__init__()
        self._news = asyncio.Condition()

    async def advertised(self, node: str, keys: Iterable[str]) -> None:
        """Wait until a node advertises keys."""
        async with asyncio.timeout(LIMIT), self._news:
            await self._news.wait_for(lambda: all(node in self.holders.get(key, ()) for key in keys))

    async def changed(self) -> None:
        """Wake whoever waits."""
        async with self._news:
            self._news.notify_all()


class _Router(MemoryRouter):
    def __init__(self, network: Network, me: Peer, metrics: Metrics) -> None:
        super().__init__(network, me, metrics.resolve_duration)
        self._network = network

    async def advertise(self, keys: Iterable[str]) -> None:
        await super().advertise(keys)
        await self._network.changed()


@contextlib.asynccontextmanager
async def running(
    network: Network, address: str, *, seen_at: str | None = None, **flags: Any
) -> AsyncIterator[Daemon]:
    """Run a daemon whose registry listens on an address, ``host:port``; it ends as one that is killed.

    Args:
        network: what connects it with others.
        address: also the node's ID.
        seen_at: the address that other nodes use, if that is another one.
        flags: of ``spegel registry``.
    """
    settings = Settings(bootstrap_kind="static", registry_addr=address, metrics_addr="127.0.0.1:0", **flags)
    host, _, port = (seen_at or address).rpartition(":")
    peer = Peer(address, (ip_address(host),), int(port))
    daemon = Daemon(settings, read_inputs(settings), lambda _, metrics: _Router(network, peer, metrics))
    daemon.listen()
    work = asyncio.create_task(daemon.run(asyncio.Event()))
    try:
        yield daemon
    finally:
        await daemon.aclose()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
