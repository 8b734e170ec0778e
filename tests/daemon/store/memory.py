"""A store in memory, for tests on a clock of their own; it can be told to fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from daemon.oci.descriptor import Descriptor
from daemon.oci.digest import Digest
from daemon.oci.manifest import media_type
from daemon.store.base import Content, Event, EventKind, Image, NotFoundError, StoreError
from tests.daemon.images import TestImage


class MemoryContent:
    """Content without a file."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    def fileno(self) -> None:
        return None

    async def read(self, offset: int, count: int) -> bytes:
        return self._data[offset : offset + count]

    def close(self) -> None:
        pass


class MemoryStore:
    """Tells every change in events, unless told to be silent as garbage collection is."""

    def __init__(self) -> None:
        self.names: dict[str, Digest] = {}
        self.blobs: dict[Digest, bytes] = {}
        self.labels: dict[Digest, tuple[str, ...]] = {}
        self.failing = False
        self.calls: list[str] = []
        self._watches: list[asyncio.Queue[Event]] = []

    def add(self, name: str, image: TestImage) -> None:
        """Put an image in, content first."""
        for digest in image.blobs:
            self.add_content(digest, image.blobs[digest])
        self.names[name] = image.index
        self.report(Event(EventKind.IMAGE_CHANGED, name))

    def add_content(self, digest: Digest, data: bytes, *sources: str) -> None:
        """Put content in."""
        self.blobs[digest] = data
        if sources:
            self.labels[digest] = sources
        self.report(Event(EventKind.CONTENT_CREATED, digest=digest))

    def remove_name(self, name: str) -> None:
        """Delete an image and leave its content to garbage collection."""
        del self.names[name]
        self.report(Event(EventKind.IMAGE_DELETED, name))

    def collect(self, image: TestImage) -> None:
        """Collect an image's content; nothing is reported."""
        for digest in image.blobs:
            del self.blobs[digest]

    def report(self, event: Event) -> None:
        """Tell whoever watches."""
        for queue in self._watches:
            queue.put_nowait(event)

    async def images(self) -> Sequence[Image]:
        self._called("images")
        return [Image(name, target) for name, target in self.names.items()]

    async def resolve(self, name: str) -> Digest:
        self._called("resolve")
        if name not in self.names:
            raise NotFoundError(name)
        return self.names[name]

    def lacks(self, digest: Digest) -> bool:
        return digest not in self.blobs

    async def describe(self, digest: Digest) -> Descriptor:
        data = self._data("describe", digest)
        return Descriptor(digest, media_type(data), len(data))

    async def open(self, digest: Digest) -> Content:
        return MemoryContent(self._data("open", digest))

    async def sources(self, digest: Digest) -> Sequence[str]:
        self._data("sources", digest)
        return self.labels.get(digest, ())

    async def contents(self) -> Sequence[tuple[Digest, Sequence[str]]]:
        self._called("contents")
        return [(digest, self.labels.get(digest, ())) for digest in self.blobs]

    async def watch(self) -> AsyncGenerator[Event, None]:
        queue: asyncio.Queue[Event] = asyncio.Queue()
        self._watches.append(queue)
        try:
            yield Event(EventKind.RESYNC)
            while True:
                yield await queue.get()
        finally:
            self._watches.remove(queue)

    async def close(self) -> None:
        pass

    def _data(self, call: str, digest: Digest) -> bytes:
        self._called(call)
        if digest not in self.blobs:
            raise NotFoundError(digest)
        return self.blobs[digest]

    def _called(self, call: str) -> None:
        self.calls.append(call)
        if self.failing:
            raise StoreError("out of order")
