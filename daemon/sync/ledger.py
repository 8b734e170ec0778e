"""Which keys are to be advertised and which are. Pure: facts about the store in, changes for the router out.

A key is a digest, or an image's name by tag. A digest is advertised for as long as the store has it, once an
image or a pull has told where it is from: deleting an image does not withdraw its content, only content that
is gone is withdrawn. A name is advertised while the store has what it points at.

The figures are by registry. A digest counts once for each registry whose images hold it; when no image does,
for each registry in its sources. So the sum over registries may exceed the number of keys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from daemon.oci.digest import Digest

Registries = tuple[str, ...]
"""Sorted, without duplicates."""


@dataclass(frozen=True, slots=True)
class Holding:
    """An image of the store."""

    registry: str
    target: Digest
    key: str | None
    """The name that is advertised; None for images without a tag, or whose tag is filtered out."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that is in the store at one moment and passes the filters."""

    images: Mapping[str, Holding]
    """By name."""
    held: Mapping[Digest, Registries]
    """Content that is there and belongs to these images."""
    sourced: Mapping[Digest, Registries]
    """Content that is there and says where it is from."""
    present: frozenset[Digest]
    """All content."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What the router is to be told."""

    advertise: tuple[str, ...]
    withdraw: tuple[str, ...]


@dataclass(slots=True)
class Counts:
    """Figures of one registry."""

    tags: int = 0
    images: int = 0
    """Digests that image names point at."""
    contents: int = 0
    """Digests of any content, those of images included."""

    @property
    def keys(self) -> int:
        """Names and digests."""
        return self.tags + self.contents


@dataclass(slots=True)
class Ledger:
    """The state between the store and the router."""

    _images: dict[str, Holding] = field(default_factory=dict)
    _held: dict[Digest, Registries] = field(default_factory=dict)
    _sourced: dict[Digest, Registries] = field(default_factory=dict)
    _advertised: set[str] = field(default_factory=set)

    def replace(self, snapshot: Snapshot) -> frozenset[Digest]:
        """Take over a complete reading of the store; return the content that is gone."""
        before = self._held.keys() | self._sourced.keys()
        held = dict(snapshot.held)
        for digest in (before & snapshot.present) - held.keys() - snapshot.sourced.keys():
            held[digest] = self._registries(digest)
        self._images, self._held, self._sourced = dict(snapshot.images), held, dict(snapshot.sourced)
        return frozenset(before - snapshot.present)

    def add_image(self, name: str, image: Holding, contents: Iterable[Digest]) -> None:
        """Note an image and that part of its content that is in the store."""
        self._images[name] = image
        for digest in contents:
            self._held[digest] = merge(self._held.get(digest, ()), image.registry)

    def remove_image(self, name: str) -> None:
        """Forget an image's name; its content stays until it is seen to be gone."""
        self._images.pop(name, None)

    def add_content(self, digest: Digest, registries: Registries) -> None:
        """Note content that is in the store and where it is from."""
        self._sourced[digest] = registries

    def remove_content(self, digest: Digest) -> None:
        """Note that content is gone."""
        self._held.pop(digest, None)
        self._sourced.pop(digest, None)

    def knows(self, digest: Digest) -> bool:
        """Tell whether content is noted as being in the store."""
        return digest in self._held or digest in self._sourced

    def changes(self) -> Changes:
        """Return what the router does not know yet."""
        wanted = {*self._held, *self._sourced, *(key for key, _ in self._names())}
        return Changes(tuple(wanted - self._advertised), tuple(self._advertised - wanted))

    def confirm(self, changes: Changes) -> None:
        """Note that the router knows."""
        self._advertised.update(changes.advertise)
        self._advertised.difference_update(changes.withdraw)

    def counts(self) -> Mapping[str, Counts]:
        """Return the figures of each registry."""
        contents = Counter(
            registry
            for digest in self._held.keys() | self._sourced.keys()
            for registry in self._registries(digest)
        )
        tags = Counter(image.registry for _, image in self._names())
        images = Counter(
            registry for registry, _ in {(image.registry, image.target) for image in self._present_images()}
        )
        return {
            registry: Counts(tags[registry], images[registry], contents[registry])
            for registry in {*contents, *tags}
        }

    def _present_images(self) -> Iterator[Holding]:
        return (image for image in self._images.values() if self.knows(image.target))

    def _names(self) -> Iterator[tuple[str, Holding]]:
        return ((image.key, image) for image in self._present_images() if image.key is not None)

    def _registries(self, digest: Digest) -> Registries:
        return self._held.get(digest) or self._sourced.get(digest, ())


def merge(registries: Registries, more: str) -> Registries:
    """Return the union; the same object for the same single registry, of which there are thousands."""
    if not registries:
        return _single(more)
    return registries if more in registries else tuple(sorted((*registries, more)))


@lru_cache(maxsize=64)
def _single(registry: str) -> Registries:
    return (registry,)
