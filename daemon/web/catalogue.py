"""The images of the store, as the debug page shows them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from daemon.oci.digest import Digest, InvalidDigestError, parse_digest
from daemon.oci.filters import Filters
from daemon.oci.manifest import NotAManifestError, load
from daemon.oci.reference import InvalidReferenceError, parse_reference
from daemon.store.base import Image, NotFoundError, Store
from daemon.store.document import read_document
from daemon.web.page import ImageRow

MAX_IMAGES = 200
_MAX_MANIFESTS = 64
"""Of one image; there are fewer platforms."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The images, or some of them."""

    rows: tuple[ImageRow, ...]
    count: int
    """Of all images."""


async def read_catalogue(store: Store, filters: Filters) -> Catalogue:
    """Read the images that may be advertised, by name, each with the size of what the store has of it.

    Raises:
        StoreError: the store cannot be read.
    """
    images = sorted(
        (image for image in await store.images() if _passes(image, filters)), key=lambda i: i.name
    )
    present = {digest for digest, _ in await store.contents()}
    rows = [
        ImageRow(image.name, image.target, await _size(store, image.target, present))
        for image in images[:MAX_IMAGES]
    ]
    return Catalogue(tuple(rows), len(images))


def _passes(image: Image, filters: Filters) -> bool:
    try:
        reference = parse_reference(image.name)
    except InvalidReferenceError:
        return False
    return not filters.excludes(reference.registry, reference.repository, reference.tag)


async def _size(store: Store, target: Digest, present: Collection[Digest]) -> int:
    """Add up the sizes of an image's content that is present, each piece once."""
    sizes: dict[Digest, int] = {}
    manifests = [target]
    for read in range(_MAX_MANIFESTS):
        if read >= len(manifests):
            break
        digest = manifests[read]
        if digest not in present:
            continue
        try:
            content = await store.open(digest)
        except NotFoundError:
            continue
        try:
            sizes[digest] = content.size
            document = load(await read_document(content))
        except NotAManifestError:
            continue
        finally:
            content.close()
        manifests += [child for child in _descriptors(document.get("manifests")) if child not in manifests]
        blobs = _descriptors([document.get("config"), *_listed(document.get("layers"))])
        sizes |= {blob: size for blob, size in blobs.items() if blob in present}
    return sum(sizes.values())


def _descriptors(entries: object) -> dict[Digest, int]:
    """Return digests with the sizes that descriptors state; what is no descriptor is left out."""
    found: dict[Digest, int] = {}
    for entry in _listed(entries):
        if isinstance(entry, dict) and isinstance(entry.get("size"), int):
            try:
                found[parse_digest(str(entry.get("digest")))] = max(entry["size"], 0)
            except InvalidDigestError:
                continue
    return found


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []
