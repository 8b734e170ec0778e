"""Events, garbage collection and restarts of the real containerd, seen by the router."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest

from daemon.metrics import Metrics
from daemon.oci.filters import Filters
from daemon.store.containerd import ContainerdStore
from daemon.sync import Sync
from tests.daemon.containerd import Containerd, require_containerd
from tests.daemon.images import TestImage, make_image

pytestmark = pytest.mark.root

ALPINE = "docker.io/library/alpine:3.20"
PAUSE = "registry.k8s.io/pause:3.9"


class Router:
    """Notes what it is told, and lets others wait for it."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self._news = asyncio.Condition()

    async def advertise(self, keys: Iterable[str]) -> None:
        async with self._news:
            self.keys.update(keys)
            self._news.notify_all()

    async def withdraw(self, keys: Iterable[str]) -> None:
        async with self._news:
            self.keys.difference_update(keys)
            self._news.notify_all()

    async def holds(self, keys: set[str]) -> None:
        async with asyncio.timeout(30), self._news:
            await self._news.wait_for(lambda: self.keys == keys)


def keys(name: str, image: TestImage) -> set[str]:
    return {name, *image.blobs}


async def test_the_router_knows_what_containerd_has(tmp_path: Path) -> None:
    require_containerd()
    process = Containerd(tmp_path)
    alpine, pause = make_image(1), make_image(2)

    def add(name: str, image: TestImage) -> None:
        arguments = ("images", "import", "--no-unpack", "--platform", "linux/amd64", "-")
        process.ctr(*arguments, stdin=image.archive(name))

    router = Router()
    store = ContainerdStore(process.socket)
    running = asyncio.create_task(Sync(store, router, Filters(), Metrics("test")).run())
    try:
        await asyncio.to_thread(process.start)
        await asyncio.to_thread(add, ALPINE, alpine)
        await router.holds(keys(ALPINE, alpine))
        await asyncio.to_thread(process.ctr, "images", "tag", ALPINE, "quay.io/alpine:1")
        await router.holds(keys(ALPINE, alpine) | {"quay.io/alpine:1"})
        await asyncio.to_thread(process.ctr, "images", "rm", "quay.io/alpine:1")
        await router.holds(keys(ALPINE, alpine))

        await asyncio.to_thread(process.stop)
        await asyncio.to_thread(process.start)
        await asyncio.to_thread(add, PAUSE, pause)
        await router.holds(keys(ALPINE, alpine) | keys(PAUSE, pause))

        await asyncio.to_thread(process.ctr, "images", "rm", "--sync", ALPINE)
        await router.holds(keys(PAUSE, pause))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await store.close()
        process.stop()
