"""What is known of immutable content, so that hot content costs no call to the store.

Nothing is said to be there on the strength of memory alone. A cached manifest keeps its file open and looks,
for one system call, whether the file still has a name: garbage collection removes it, with or without an
event. Content without a file is asked for again after a moment. Blobs are opened anew for every request.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from daemon.oci.descriptor import Descriptor
from daemon.oci.digest import Digest
from daemon.oci.manifest import MAX_MANIFEST_SIZE
from daemon.store.base import Content, Event, EventKind, NotFoundError, Store, StoreError

MAX_CACHED_MANIFEST = 64 * 1024
MAX_CACHED_BYTES = 4 * 1024 * 1024
MAX_CACHED_MANIFESTS = 256
MAX_CACHED_DESCRIPTORS = 4096
RECHECK = 2.0
"""Seconds that a manifest without a file is believed to be there; events end it sooner."""

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
    content: Content
    believed_until: float

    def still_there(self, now: float) -> bool:
        """Tell whether the store has it now."""
        source = self.content.fileno()
        if source is None:
            return now < self.believed_until
        return os.fstat(source).st_nlink > 0


class Facts:
    """Remembers descriptors and small manifests; both are bounded, the least used go first."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        """Remember nothing yet; ``clock`` tells the time in seconds."""
        self._store = store
        self._clock = clock
        self._manifests: OrderedDict[Digest, Manifest] = OrderedDict()
        self._bytes = 0
        self._descriptors: OrderedDict[Digest, Descriptor] = OrderedDict()
        self._loading: dict[Digest, asyncio.Future[Manifest]] = {}

    def manifest(self, digest: Digest) -> Manifest | None:
        """Return a manifest that is known and in the store now."""
        manifest = self._manifests.get(digest)
        if manifest is None:
            return None
        if not manifest.still_there(self._clock()):
            self._drop_manifest(digest)
            return None
        self._manifests.move_to_end(digest)
        return manifest

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

    async def describe(self, digest: Digest) -> Descriptor:
        """Return a descriptor out of memory or the store. Whether the content is there, ``open`` tells.

        Raises:
            StoreError: it is not there (NotFoundError), or the store cannot be asked.
        """
        descriptor = self._descriptors.get(digest)
        if descriptor is None:
            descriptor = await self._store.describe(digest)
            self._descriptors[digest] = descriptor
            if len(self._descriptors) > MAX_CACHED_DESCRIPTORS:
                self._descriptors.popitem(last=False)
        else:
            self._descriptors.move_to_end(digest)
        return descriptor

    async def open(self, descriptor: Descriptor) -> Content:
        """Open content and compare its size.

        Raises:
            StoreError: it is not there (NotFoundError), has another size, or cannot be opened.
        """
        try:
            content = await self._store.open(descriptor.digest)
        except NotFoundError:
            self.forget(descriptor.digest)
            raise
        if content.size != descriptor.size:
            content.close()
            self.forget(descriptor.digest)
            raise CorruptContentError(
                f"{descriptor.digest} has {content.size} bytes instead of {descriptor.size}"
            )
        return content

    def forget(self, digest: Digest) -> None:
        """Ask the store again next time."""
        self._descriptors.pop(digest, None)
        self._drop_manifest(digest)

    def clear(self) -> None:
        """Forget everything and let go of all files."""
        self._descriptors.clear()
        for digest in list(self._manifests):
            self._drop_manifest(digest)

    def observe(self, event: Event) -> None:
        """Follow the store's events."""
        if event.kind is EventKind.RESYNC:
            self.clear()
        elif event.kind is EventKind.CONTENT_DELETED and event.digest is not None:
            self.forget(event.digest)

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
            data = await _verified(content, descriptor)
        except BaseException:
            content.close()
            raise
        manifest = Manifest(descriptor, data, content, self._clock() + RECHECK)
        self._keep(manifest)
        return manifest

    def _keep(self, manifest: Manifest) -> None:
        self._drop_manifest(manifest.descriptor.digest)
        self._manifests[manifest.descriptor.digest] = manifest
        self._bytes += len(manifest.data)
        while self._bytes > MAX_CACHED_BYTES or len(self._manifests) > MAX_CACHED_MANIFESTS:
            self._drop_manifest(next(iter(self._manifests)))

    def _drop_manifest(self, digest: Digest) -> None:
        manifest = self._manifests.pop(digest, None)
        if manifest is not None:
            self._bytes -= len(manifest.data)
            manifest.content.close()


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
