"""What every store must do, whatever is behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Protocol

import pytest

from daemon.oci.descriptor import BINARY, OCI_INDEX, OCI_MANIFEST
from daemon.oci.digest import Digest
from daemon.oci.manifest import OCI_CONFIG
from daemon.store.base import Event, EventKind, NotFoundError, Store, StoreError
from tests.daemon.images import TestImage, make_image

ALPINE = "docker.io/library/alpine:3.20"
PAUSE = "registry.k8s.io/pause:3.9"
UNKNOWN = Digest("sha256:" + "0" * 64)
LIMIT = 20.0


class Harness(Protocol):
    """A store under test, and what others do to what is behind it. All but ``store`` may block."""

    store: Store

    def add(self, name: str, image: TestImage) -> None:
        """Put an image in, or point a name at another image."""

    def remove(self, name: str) -> None:
        """Take an image out, and all content that no other image needs."""

    def restart(self, meanwhile: Callable[[], None]) -> None:
        """Take what is behind the store away and bring it back; then do something at once."""


class Watch:
    """A running watch: what was seen of it, and what somebody knows who obeys it."""

    def __init__(self, store: Store) -> None:
        self.events: list[Event] = []
        self.names: set[str] = set()
        self._store = store
        self._news = asyncio.Condition()

    async def follow(self) -> None:
        async with aclosing(self._store.watch()) as events:
            async for event in events:
                # A store that fails now says RESYNC when it is back.
                with suppress(StoreError):
                    await self._obey(event)
                async with self._news:
                    self.events.append(event)
                    self._news.notify_all()

    async def _obey(self, event: Event) -> None:
        if event.kind is EventKind.RESYNC:
            self.names = {image.name for image in await self._store.images()}
        elif event.name:
            try:
                await self._store.resolve(event.name)
                self.names.add(event.name)
            except NotFoundError:
                self.names.discard(event.name)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what was seen fulfils a condition."""
        async with asyncio.timeout(LIMIT), self._news:
            await self._news.wait_for(condition)

    async def sees(self, *wanted: Event) -> None:
        """Wait for each of some events, whatever else they say of the digest."""
        await self.until(lambda: all(any(_matches(event, want) for event in self.events) for want in wanted))


def _matches(event: Event, wanted: Event) -> bool:
    return event.kind is wanted.kind and event.name == wanted.name and wanted.digest in {None, event.digest}


@asynccontextmanager
async def watching(store: Store) -> AsyncIterator[Watch]:
    """Follow a store from its first event on."""
    watch = Watch(store)
    task = asyncio.create_task(watch.follow())
    try:
        await watch.until(lambda: bool(watch.events))
        yield watch
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class StoreConformance:
    """Subclasses give the fixture ``harness``."""

    async def test_an_empty_store_has_nothing(self, harness: Harness) -> None:
        assert list(await harness.store.images()) == []
        assert list(await harness.store.contents()) == []

    async def test_images_are_found_by_name(self, harness: Harness) -> None:
        alpine, pause = make_image(1), make_image(2)
        harness.add(ALPINE, alpine)
        harness.add(PAUSE, pause)
        images = {image.name: image.target for image in await harness.store.images()}
        assert images == {ALPINE: alpine.index, PAUSE: pause.index}
        assert await harness.store.resolve(ALPINE) == alpine.index
        with pytest.raises(NotFoundError):
            await harness.store.resolve("docker.io/library/alpine:edge")

    async def test_a_name_can_be_pointed_elsewhere(self, harness: Harness) -> None:
        harness.add(ALPINE, make_image(1))
        harness.add(ALPINE, make_image(2))
        assert await harness.store.resolve(ALPINE) == make_image(2).index

    async def test_content_is_described(self, harness: Harness) -> None:
        image = make_image(1)
        harness.add(ALPINE, image)
        expected = {image.index: OCI_INDEX, image.manifest: OCI_MANIFEST, image.config: OCI_CONFIG}
        expected |= dict.fromkeys(image.layers, BINARY)
        for digest, media_type in expected.items():
            descriptor = await harness.store.describe(digest)
            assert descriptor.digest == digest
            assert descriptor.media_type == media_type
            assert descriptor.size == len(image.blobs[digest])

    async def test_content_is_read(self, harness: Harness) -> None:
        image = make_image(1, size=3_000_000)
        harness.add(ALPINE, image)
        layer = image.layers[0]
        content = await harness.store.open(layer)
        try:
            assert content.size == len(image.blobs[layer])
            read = b""
            while part := await content.read(len(read), content.size):
                read += part
            assert read == image.blobs[layer]
            assert await content.read(7, 5) == image.blobs[layer][7:12]
            assert await content.read(content.size, 5) == b""
        finally:
            content.close()
            content.close()

    async def test_all_content_is_listed(self, harness: Harness) -> None:
        image = make_image(1)
        harness.add(ALPINE, image)
        listed = {digest for digest, _ in await harness.store.contents()}
        assert listed >= image.blobs.keys()
        assert list(await harness.store.sources(image.index)) == []

    async def test_unknown_content_is_not_found(self, harness: Harness) -> None:
        harness.add(ALPINE, make_image(1))
        for method in (harness.store.describe, harness.store.open, harness.store.sources):
            with pytest.raises(NotFoundError):
                await method(UNKNOWN)

    async def test_what_is_lacked_is_known_at_once_as_it_comes_and_goes(self, harness: Harness) -> None:
        image = make_image(1)
        harness.add(ALPINE, make_image(2))
        await harness.store.describe(make_image(2).index)
        assert harness.store.lacks(image.index)
        harness.add(ALPINE, image)
        assert not harness.store.lacks(image.index)
        harness.remove(ALPINE)
        assert harness.store.lacks(image.index)

    @pytest.mark.parametrize("digest", ["sha256:../../../../etc/passwd", "../index.json", "", "sha256:"])
    async def test_what_is_no_digest_reaches_nothing(self, harness: Harness, digest: str) -> None:
        harness.add(ALPINE, make_image(1))
        for method in (harness.store.describe, harness.store.open, harness.store.sources):
            with pytest.raises(StoreError):
                await method(Digest(digest))

    async def test_content_that_is_gone_is_not_found(self, harness: Harness) -> None:
        image = make_image(1)
        harness.add(ALPINE, image)
        await harness.store.describe(image.index)
        harness.remove(ALPINE)
        for digest in image.blobs:
            with pytest.raises(NotFoundError):
                await harness.store.open(digest)
            with pytest.raises(NotFoundError):
                await harness.store.describe(digest)

    async def test_open_files_stay_readable_when_the_content_goes(self, harness: Harness) -> None:
        image = make_image(1)
        harness.add(ALPINE, image)
        content = await harness.store.open(image.layers[0])
        try:
            assert content.fileno() is not None
            harness.remove(ALPINE)
            assert await content.read(0, content.size) == image.blobs[image.layers[0]]
        finally:
            content.close()

    async def test_a_watch_starts_with_a_resync(self, harness: Harness) -> None:
        async with watching(harness.store) as watch:
            assert watch.events[0].kind is EventKind.RESYNC

    async def test_a_watch_tells_of_images_that_come_change_and_go(self, harness: Harness) -> None:
        async with watching(harness.store) as watch:
            await asyncio.to_thread(harness.add, ALPINE, make_image(1))
            await watch.sees(Event(EventKind.IMAGE_CHANGED, ALPINE))
            watch.events.clear()
            await asyncio.to_thread(harness.add, ALPINE, make_image(2))
            await watch.sees(Event(EventKind.IMAGE_CHANGED, ALPINE))
            await asyncio.to_thread(harness.remove, ALPINE)
            await watch.sees(Event(EventKind.IMAGE_DELETED, ALPINE))

    async def test_who_obeys_a_watch_misses_nothing_through_a_restart(self, harness: Harness) -> None:
        async with watching(harness.store) as watch:
            await asyncio.to_thread(harness.add, PAUSE, make_image(2))
            await watch.until(lambda: watch.names == {PAUSE})
            await asyncio.to_thread(harness.restart, lambda: harness.add(ALPINE, make_image(1)))
            await watch.until(lambda: watch.names == {ALPINE, PAUSE})
            await asyncio.to_thread(harness.remove, PAUSE)
            await watch.until(lambda: watch.names == {ALPINE})
