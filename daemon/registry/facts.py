"""What is known of immutable content, so that hot content costs no call to the store.

Nothing is said to be there on the strength of memory alone. A cached manifest keeps its file open and looks,
for one system call, whether the file still has a name: garbage collection removes it, with or without an
event. Blobs are opened anew for every request. Of content without a file nothing is remembered at all: the
store is asked every time. What an image's name points at is believed for a second, or until an event says
that it has changed: so long may an answer have been on its way as well.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import OrderedDict
from dataclasses import dataclass

from daemon.oci.descriptor import Descriptor
from daemon.oci.digest import Digest
from daemon.oci.manifest import MAX_MANIFEST_SIZE
from daemon.store.base import Content, Event, EventKind, NotFoundError, Store, StoreError

MAX_CACHED_MANIFEST = 64 * 1024
MAX_CACHED_BYTES = 4 * 1024 * 1024
MAX_CACHED_MANIFESTS = 256
MAX_CACHED_DESCRIPTORS = 4096
MAX_CACHED_NAMES = 1024
NAME_VALIDITY = 1.0

_READ = 64 * 1024


class CorruptContentError(StoreError):
    """Content is not what its digest says."""


class WrongKindError(StoreError):
    """Content is in the store, but no manifest."""


@dataclass(slots=True)
class Manifest:
    """A manifest whose bytes were found to match its digest."""

    descriptor: Descriptor
    data: bytes
    """Empty when it is too large to be kept; it is then read from the store, as a blob is."""


@dataclass(slots=True)
class _Kept:
    """A manifest in memory, with its open file."""

    manifest: Manifest
    content: Content
    source: int

    def still_there(self) -> bool:
        """Tell whether the file still has a name, so whether the store has the content now."""
        return os.fstat(self.source).st_nlink > 0


class Facts:
    """Remembers descriptors and small manifests; both are bounded, the least used go first."""

    def __init__(self, store: Store) -> None:
        """Remember nothing yet."""
        self._store = store
        self._manifests: OrderedDict[Digest, _Kept] = OrderedDict()
        self._bytes = 0
        self._descriptors: OrderedDict[Digest, Descriptor] = OrderedDict()
        self._loading: dict[Digest, asyncio.Future[Manifest]] = {}
        self._names: OrderedDict[str, tuple[Digest, float]] = OrderedDict()

    def manifest(self, digest: Digest) -> Manifest | None:
        """Return a manifest that is known and in the store now."""
        kept = self._manifests.get(digest)
        if kept is None:
            return None
        if not kept.still_there():
            self.forget(digest)
            return None
        self._manifests.move_to_end(digest)
        return kept.manifest

    async def load_manifest(self, digest: Digest) -> Manifest:
        """Return a manifest out of memory or the store; many requests for one cost one reading.

        Raises:
            StoreError: it is not there (NotFoundError), not what its digest says, or cannot be read.
        """
        while (manifest := self.manifest(digest)) is None:
            loading = self._loading.get(digest)
            if loading is None:
                return await self._lead(digest)
            await asyncio.wait([loading])
            if not loading.cancelled():
                return loading.result()
        return manifest

    async def resolve(self, name: str) -> Digest:
        """Return what an image name points at, or pointed at a moment ago.

        Raises:
            StoreError: there is no such image (NotFoundError), or the store cannot be asked.
        """
        now = asyncio.get_running_loop().time()
        known = self._names.get(name)
        if known is not None and now < known[1]:
            return known[0]
        digest = await self._store.resolve(name)
        self._names[name] = digest, now + NAME_VALIDITY
        self._names.move_to_end(name)
        if len(self._names) > MAX_CACHED_NAMES:
            self._names.popitem(last=False)
        return digest

    async def describe(self, digest: Digest) -> Descriptor:
        """Return a descriptor out of memory or the store. Whether the content is there, ``open`` tells.

        Raises:
            StoreError: it is not there (NotFoundError), or the store cannot be asked.
        """
        descriptor = self._descriptors.get(digest)
        if descriptor is None:
            return await self._store.describe(digest)
        self._descriptors.move_to_end(digest)
        return descriptor

    async def open(self, descriptor: Descriptor) -> Content:
        """Open content and compare its size.

        Raises:
            StoreError: it is not there (NotFoundError), has another size, or cannot be opened.
        """
        digest = descriptor.digest
        try:
            content = await self._store.open(digest)
        except NotFoundError:
            self.forget(digest)
            raise
        if content.size != descriptor.size:
            content.close()
            self.forget(digest)
            raise CorruptContentError(f"{digest} has {content.size} bytes instead of {descriptor.size}")
        if content.fileno() is not None:
            self._descriptors[digest] = descriptor
            if len(self._descriptors) > MAX_CACHED_DESCRIPTORS:
                self._descriptors.popitem(last=False)
        return content

    def forget(self, digest: Digest) -> None:
        """Ask the store again next time."""
        self._descriptors.pop(digest, None)
        self._drop_manifest(digest)

    def clear(self) -> None:
        """Forget everything and let go of all files."""
        self._descriptors.clear()
        self._names.clear()
        for digest in list(self._manifests):
            self._drop_manifest(digest)

    def observe(self, event: Event) -> None:
        """Follow the store's events."""
        if event.kind is EventKind.RESYNC:
            self.clear()
        elif event.kind is EventKind.CONTENT_DELETED and event.digest is not None:
            self.forget(event.digest)
        elif event.name:
            self._names.pop(event.name, None)

    async def _lead(self, digest: Digest) -> Manifest:
        """Read a manifest, and let all who wait for the same one have the outcome."""
        outcome = self._loading[digest] = asyncio.get_running_loop().create_future()
        try:
            manifest = await self._read_manifest(digest)
        except StoreError as error:
            outcome.set_exception(error)
            outcome.exception()  # seen, even when nobody waits
            raise
        else:
            outcome.set_result(manifest)
            return manifest
        finally:
            outcome.cancel()
            del self._loading[digest]

    async def _read_manifest(self, digest: Digest) -> Manifest:
        descriptor = await self.describe(digest)
        if not descriptor.is_manifest:
            raise WrongKindError(f"{digest} is no manifest but {descriptor.media_type}")
        content = await self.open(descriptor)
        try:
            manifest = Manifest(descriptor, await _verified(content, descriptor))
        except BaseException:
            content.close()
            raise
        source = content.fileno()
        if source is None:
            content.close()
        else:
            self._keep(_Kept(manifest, content, source))
        return manifest

    def _keep(self, kept: _Kept) -> None:
        self._manifests[kept.manifest.descriptor.digest] = kept
        self._bytes += len(kept.manifest.data)
        while self._bytes > MAX_CACHED_BYTES or len(self._manifests) > MAX_CACHED_MANIFESTS:
            self._drop_manifest(next(iter(self._manifests)))

    def _drop_manifest(self, digest: Digest) -> None:
        kept = self._manifests.pop(digest, None)
        if kept is not None:
            self._bytes -= len(kept.manifest.data)
            kept.content.close()


async def _verified(content: Content, descriptor: Descriptor) -> bytes:
    """Read a manifest, compare it with its digest, and return it if it is small enough to be kept."""
    if descriptor.size > MAX_MANIFEST_SIZE:
        raise CorruptContentError(f"{descriptor.digest} is too large for a manifest: {descriptor.size} bytes")
    algorithm, _, expected = descriptor.digest.partition(":")
    sum_ = hashlib.new(algorithm)
    kept = bytearray()
    offset = 0
    try:
        while data := await content.read(offset, _READ):
            sum_.update(data)
            offset += len(data)
            if descriptor.size <= MAX_CACHED_MANIFEST:
                kept += data
    except OSError as error:
        raise StoreError(f"{descriptor.digest} cannot be read: {error.strerror or error}") from error
    if sum_.hexdigest() != expected:
        raise CorruptContentError(f"the store's content of {descriptor.digest} does not match its digest")
    return bytes(kept)
