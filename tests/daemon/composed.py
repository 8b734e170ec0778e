"""The daemon as ``spegel registry`` composes it, but with the router in memory.

Daemons of one process share a hub. ``python -m tests.daemon.composed ADDRESS:PORT FLAGS...`` runs one as a
process, and it believes that the peer at that address has everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import AsyncIterator, Iterable
from ipaddress import ip_address
from typing import Any

from daemon import logs
from daemon.cli.commands import Registry as Settings
from daemon.cli.parser import parse
from daemon.cli.signals import stop_requested
from daemon.cli.values import port_of
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


class _Everything(dict[str, dict[str, Peer]]):
    """What one peer holds: whatever it is asked for."""

    def __init__(self, peer: Peer) -> None:
        super().__init__()
        self._peer = peer

    def get(self, key: str, default: Any = None) -> Any:
        return {self._peer.id: self._peer, **super().get(key, {})}


async def _run(peer_address: str, settings: Settings) -> None:
    host, _, port = peer_address.rpartition(":")
    peer = Peer("peer", (ip_address(host),), int(port))
    hub = Hub()
    hub.members[peer.id] = peer
    hub.holders = _Everything(peer)
    me = Peer("me", (ip_address("127.0.0.1"),), port_of(settings.registry_addr))
    stop = stop_requested()
    daemon = Daemon(
        settings, read_inputs(settings), lambda _, metrics: MemoryRouter(hub, me, metrics.resolve_duration)
    )
    try:
        daemon.listen()
        await daemon.run(stop)
    finally:
        await daemon.aclose()


def main() -> None:
    """Run one daemon as a process."""
    invocation = parse(["registry", *sys.argv[2:]], os.environ)
    assert isinstance(invocation.command, Settings)
    logs.configure(logging.INFO)
    asyncio.run(_run(sys.argv[1], invocation.command))


if __name__ == "__main__":
    main()
