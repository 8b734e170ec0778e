"""A directory in the OCI image layout (OCI image specification, image-layout.md).

Whoever writes the directory is not asked: the store reads what is there, trusts nothing in it to stay inside,
and finds out about changes by looking again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.oci.descriptor import Descriptor
from daemon.oci.digest import Digest, InvalidDigestError, parse_digest
from daemon.oci.manifest import MAX_MANIFEST_SIZE, NotAManifestError, load, media_type
from daemon.oci.reference import InvalidReferenceError, parse_reference
from daemon.store.base import Content, Event, EventKind, Image, NotFoundError, StoreError
from daemon.store.document import read_document
from daemon.store.files import ALGORITHMS, FileContent, is_missing, list_blobs, open_blob, open_regular

_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
"""Annotations that name an image; the first is containerd's and always a complete name."""
_NAMELESS = (
    "{}/index.json has {} images without a complete name, such as docker.io/library/alpine:3.20: "
    "other nodes do not learn of them"
)
_RACY = 2.0
"""A change may leave no trace in a modification time that is this young, in seconds (FAT counts by twos)."""

_log = logging.getLogger(__name__)

_Signature = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class _State:
    """The directory at one moment."""

    names: Mapping[str, Digest]
    digests: frozenset[Digest]


class LayoutStore:
    """The images of an ``index.json`` and the content below ``blobs/``.

    An image's name is containerd's annotation or, failing that, ``org.opencontainers.image.ref.name``. All
    content that is there can be served, named or not. Where content comes from is unknown.
    """

    def __init__(self, root: Path, *, poll_interval: float = 1.0) -> None:
        """Make the store; ``poll_interval`` is the time between two looks at the directory, in seconds."""
        self._root = root
        self._poll_interval = poll_interval
        self._names: Mapping[str, Digest] | None = None
        self._complaint = ""

    async def images(self) -> Sequence[Image]:
        """Return all named images."""
        names = await asyncio.to_thread(self._read_names)
        return [Image(name, digest) for name, digest in names.items()]

    async def resolve(self, name: str) -> Digest:
        """Return what an image name points at now."""
        names = await asyncio.to_thread(self._read_names)
        if name not in names:
            raise NotFoundError(f"image {name} is not in the store")
        return names[name]

    def lacks(self, digest: Digest) -> bool:
        """Tell that content has no file."""
        return is_missing(str(self._root), digest)

    async def describe(self, digest: Digest) -> Descriptor:
        """Return media type and size."""
        content = self._open(digest)
        try:
            return Descriptor(digest, media_type(await read_document(content)), content.size)
        finally:
            content.close()

    async def open(self, digest: Digest) -> Content:
        """Open content."""
        return self._open(digest)

    async def sources(self, digest: Digest) -> Sequence[str]:
        """Return nothing, for content that is there."""
        self._open(digest).close()
        return ()

    async def contents(self) -> Sequence[tuple[Digest, Sequence[str]]]:
        """Return all content."""
        return [(digest, ()) for digest in await asyncio.to_thread(self._list)]

    async def watch(self) -> AsyncGenerator[Event, None]:
        """Look at the directory again and again and tell what has changed."""
        seen: _State | None = None
        signature: _Signature | None = None
        while True:
            try:
                looked = time.time()
                current = await asyncio.to_thread(self._signature)
                if current != signature:
                    state = await asyncio.to_thread(self._look)
                    for event in _changes(seen, state):
                        yield event
                    seen = state
                    signature = current if _settled(current, looked) else None
            except StoreError as error:
                self._complain(str(error))
                seen = signature = None
            await asyncio.sleep(self._poll_interval)

    async def close(self) -> None:
        """Nothing to release."""

    def _open(self, digest: Digest) -> FileContent:
        with self._directory() as root:
            try:
                return open_blob(root, digest)
            except (FileNotFoundError, NotADirectoryError, InvalidDigestError) as error:
                raise NotFoundError(f"content {digest} is not in the store") from error
            except OSError as error:
                raise StoreError(f"content {digest} cannot be read: {error}") from error

    def _look(self) -> _State:
        return _State(self._read_names(), frozenset(self._list()))

    def _list(self) -> list[Digest]:
        with self._directory() as root:
            try:
                return list_blobs(root)
            except OSError as error:
                raise StoreError(f"{self._root}/blobs cannot be listed: {error}") from error

    def _read_names(self) -> Mapping[str, Digest]:
        """Read the index; the last good one while somebody is writing it."""
        try:
            with self._directory() as root:
                self._names, nameless = _names(load(_read_file("index.json", root)))
        except (OSError, NotAManifestError) as error:
            if self._names is None:
                raise StoreError(f"{self._root}/index.json cannot be read: {error}") from error
            self._complain(f"{self._root}/index.json cannot be read, its last state is kept: {error}")
        else:
            self._complain(_NAMELESS.format(self._root, nameless) if nameless else "")
        return self._names

    def _signature(self) -> _Signature:
        """Return what changes with every change of the index, or of the set of blobs."""
        blobs = [self._root / "blobs" / algorithm for algorithm in ALGORITHMS]
        return tuple(_stat(path) for path in (self._root / "index.json", *blobs))

    @contextmanager
    def _directory(self) -> Iterator[int]:
        try:
            fd = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise StoreError(f"{self._root} cannot be opened: {error}") from error
        try:
            yield fd
        finally:
            os.close(fd)

    def _complain(self, complaint: str) -> None:
        """Log what is wrong, once for as long as it lasts; nothing is, if it is empty."""
        if complaint and complaint != self._complaint:
            _log.warning("%s", complaint)
        self._complaint = complaint


def _changes(before: _State | None, after: _State) -> Iterator[Event]:
    """Yield what has happened; content before the images that name it."""
    if before is None:
        yield Event(EventKind.RESYNC)
        return
    for digest in sorted(after.digests - before.digests):
        yield Event(EventKind.CONTENT_CREATED, digest=digest)
    for name, target in after.names.items():
        if before.names.get(name) != target:
            yield Event(EventKind.IMAGE_CHANGED, name, target)
    for name, target in before.names.items():
        if name not in after.names:
            yield Event(EventKind.IMAGE_DELETED, name, target)
    for digest in sorted(before.digests - after.digests):
        yield Event(EventKind.CONTENT_DELETED, digest=digest)


def _names(index: dict[str, Any]) -> tuple[Mapping[str, Digest], int]:
    """Return the images that an index names, the last of a name, and how many have no complete name."""
    names: dict[str, Digest] = {}
    nameless = 0
    descriptors = index.get("manifests")
    for descriptor in descriptors if isinstance(descriptors, list) else ():
        annotations = descriptor.get("annotations") if isinstance(descriptor, dict) else None
        annotations = annotations if isinstance(annotations, dict) else {}
        name = next((annotations[key] for key in _NAMES if annotations.get(key)), None)
        try:
            parse_reference(str(name))
            names[str(name)] = parse_digest(str(descriptor.get("digest")))
        except InvalidReferenceError:
            nameless += 1
        except InvalidDigestError as error:
            _log.warning("image %s is left out: %s", name, error)
    return names, nameless


def _read_file(name: str, directory: int) -> bytes:
    fd = open_regular(name, directory)
    try:
        return os.pread(fd, MAX_MANIFEST_SIZE + 1, 0)
    finally:
        os.close(fd)


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat(follow_symlinks=False)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _settled(signature: _Signature, looked: float) -> bool:
    """Tell whether a later change is sure to show in the signature."""
    return all(entry is None or entry[1] < (looked - _RACY) * 1e9 for entry in signature)
