"""A router for daemons that share one process: tests, and one machine on its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import Histogram

    from daemon.routing.base import Peer


class Hub:
    """What the routers of one process know together."""

    def __init__(self) -> None:
        self.members: dict[str, Peer] = {}
        """The nodes whose routers run, by ID."""
        self.holders: dict[str, dict[str, Peer]] = {}
        """By key, the nodes that advertise it, in the order in which they came."""


class MemoryRouter:
    """The router of one node; finds what others of the same hub advertise."""

    def __init__(self, hub: Hub, me: Peer, resolve_duration: Histogram | None = None) -> None:
        """Prepare a node; it takes part once ``run`` runs.

        Args:
            hub: what connects the nodes.
            me: how others see this node.
            resolve_duration: takes the seconds until a lookup found its first peer, label ``router``.
        """
        self._hub = hub
        self._me = me
        self._keys: set[str] = set()
        self._resolve_duration = resolve_duration

    @property
    def id(self) -> str:
        """This node's own."""
        return self._me.id

    async def ready(self) -> bool:
        """Tell whether the node runs and is not alone."""
        return self._me.id in self._hub.members and len(self._hub.members) > 1

    async def lookup(self, key: str, count: int) -> AsyncGenerator[Peer, None]:
        """Yield up to ``count`` other nodes that advertise a key and run."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        others = [
            peer
            for peer in self._hub.holders.get(key, {}).values()
            if peer.id != self._me.id and peer.id in self._hub.members
        ]
        if others and self._resolve_duration is not None:
            self._resolve_duration.labels("memory").observe(loop.time() - started)
        for peer in others[:count]:
            yield peer

    async def advertise(self, keys: Iterable[str]) -> None:
        """Tell the hub that this node has keys."""
        for key in keys:
            self._keys.add(key)
            self._hub.holders.setdefault(key, {})[self._me.id] = self._me

    async def withdraw(self, keys: Iterable[str]) -> None:
        """Take keys back; unknown ones do no harm."""
        for key in keys:
            self._keys.discard(key)
            holders = self._hub.holders.get(key, {})
            holders.pop(self._me.id, None)
            if not holders:
                self._hub.holders.pop(key, None)

    async def peers(self) -> Sequence[Peer]:
        """Return the other nodes that run."""
        return [peer for peer in self._hub.members.values() if peer.id != self._me.id]

    def addresses(self) -> Sequence[str]:
        """Return this node's addresses as multiaddrs; they carry no port, since nothing listens."""
        return [f"/ip{address.version}/{address}/p2p/{self._me.id}" for address in self._me.addresses]

    async def run(self) -> None:
        """Be a member of the hub until cancelled; others find nothing of this node afterwards."""
        self._hub.members[self._me.id] = self._me
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            del self._hub.members[self._me.id]
            await self.withdraw(list(self._keys))
