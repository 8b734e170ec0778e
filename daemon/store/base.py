"""The interface of a store; every implementation passes the same conformance suite."""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from daemon.oci.descriptor import Descriptor
from daemon.oci.digest import Digest


class StoreError(Exception):
    """The store cannot be asked right now; the message says why. The content may well exist."""


class NotFoundError(StoreError):
    """The store has no such image or content."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image by name: ``docker.io/library/alpine:3.20`` (or ``…@sha256:…``) and what the name points at."""

    name: str
    target: Digest


class EventKind(enum.Enum):
    """What a store reports. Events may repeat; whoever follows them must not mind."""

    IMAGE_CHANGED = enum.auto()
    """An image name was created or points elsewhere now."""
    IMAGE_DELETED = enum.auto()
    CONTENT_CREATED = enum.auto()
    """A piece of content was committed, maybe before any image names it."""
    CONTENT_DELETED = enum.auto()
    RESYNC = enum.auto()
    """Events may have been lost (first of all, at the start of a watch): read everything again."""


@dataclass(frozen=True, slots=True)
class Event:
    """One report of a store."""

    kind: EventKind
    name: str = ""
    """The image's name, for events of images."""
    digest: Digest | None = None
    """The content's digest, for events of content and where an image event knows its target."""


class Content(Protocol):
    """One piece of content, opened for reading; open content stays readable when the store deletes it."""

    @property
    def size(self) -> int:
        """In bytes."""

    def fileno(self) -> int | None:
        """Return a file descriptor that sendfile may read from by offset, None when there is no file."""

    async def read(self, offset: int, count: int) -> bytes:
        """Return up to ``count`` bytes from ``offset``; empty at the end."""

    def close(self) -> None:
        """Release it; once is enough, twice does no harm."""


class Store(Protocol):
    """What the daemon needs of a store. Every method may raise StoreError."""

    async def images(self) -> Sequence[Image]:
        """Return all images."""

    async def resolve(self, name: str) -> Digest:
        """Return what an image name points at now; NotFoundError when it is unknown."""

    def lacks(self, digest: Digest) -> bool:
        """Tell that content is not in the store now; False too where that takes more than a moment."""

    async def describe(self, digest: Digest) -> Descriptor:
        """Return media type and size of content that is in the store now; NotFoundError otherwise."""

    async def open(self, digest: Digest) -> Content:
        """Open content that is in the store now; NotFoundError otherwise."""

    async def sources(self, digest: Digest) -> Sequence[str]:
        """Return the repositories that content in the store now is known to come from, maybe none.

        ``docker.io/library/alpine``; containerd leaves a registry's port out. NotFoundError when it is gone.
        """

    async def contents(self) -> Sequence[tuple[Digest, Sequence[str]]]:
        """Return all content that is in the store now, each with its sources."""

    def watch(self) -> AsyncGenerator[Event, None]:
        """Follow the store, through restarts of what is behind it, until the generator is closed.

        It never ends of itself and raises no StoreError.
        """

    async def close(self) -> None:
        """Release connections."""
