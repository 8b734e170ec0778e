"""Reads from the store what is to be advertised: filters applied, images followed down to their layers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from daemon.oci.digest import Digest
from daemon.oci.filters import Filters
from daemon.oci.manifest import Children, NotAManifestError, children
from daemon.oci.reference import InvalidReferenceError, parse_reference
from daemon.store.base import Image, NotFoundError, Store, StoreError
from daemon.store.document import read_document
from daemon.sync.ledger import Holding, Registries, Snapshot, merge

_MAX_DEPTH = 4
"""Indexes may hold indexes; nobody nests them deeper."""
_MAX_QUESTIONS = 256
_PORTION = 1000
"""Digests that are gone through before others have their turn."""

_log = logging.getLogger(__name__)


class Reader:
    """Reads a store. What manifests name is remembered for as long as they are in the store."""

    def __init__(self, store: Store, filters: Filters) -> None:
        """Make the reader."""
        self._store = store
        self._filters = filters
        self._nodes: dict[Digest, Children] = {}

    async def everything(self) -> Snapshot:
        """Read the whole store.

        Raises:
            StoreError: the store cannot be read.
        """
        listed = dict(await self._store.contents())
        present = frozenset(listed)

        async def is_present(digest: Digest) -> bool:
            return digest in present

        images: dict[str, Holding] = {}
        held: dict[Digest, Registries] = {}
        for image in await self._store.images():
            holding = self.holding(image)
            if holding is None:
                continue
            images[image.name] = holding
            for digest in await self._walk(image.target, is_present):
                held[digest] = merge(held.get(digest, ()), holding.registry)
            await asyncio.sleep(0)  # what manifests name is mostly remembered: nothing above waits
        sourced: dict[Digest, Registries] = {}
        for number, (digest, sources) in enumerate(listed.items()):
            if sources and (registries := self._registries(sources)):
                sourced[digest] = registries
            if number % _PORTION == 0:
                await asyncio.sleep(0)
        self._nodes = {digest: node for digest, node in self._nodes.items() if digest in present}
        return Snapshot(images, held, sourced, present)

    async def image(self, name: str) -> tuple[Holding, Sequence[Digest]] | None:
        """Read one image and that part of its content which is in the store; None when it is filtered out.

        Raises:
            NotFoundError: there is no such image.
            StoreError: the store cannot be read.
        """
        holding = self.holding(Image(name, await self._store.resolve(name)))
        return None if holding is None else (holding, await self._walk(holding.target, self._presence()))

    async def content(self, digest: Digest) -> Registries | None:
        """Return the registries that content comes from; None when it does not say.

        Empty when all of them are filtered out.

        Raises:
            NotFoundError: the store does not have it.
            StoreError: the store cannot be read.
        """
        sources = await self._store.sources(digest)
        return self._registries(sources) if sources else None

    def holding(self, image: Image) -> Holding | None:
        """Return what is to be known of an image; None when it is filtered out or has no complete name."""
        try:
            reference = parse_reference(image.name)
        except InvalidReferenceError:
            return None  # such as "sha256:...", by which the CRI plugin names an image's config
        registry, repository = reference.registry, reference.repository
        if self._filters.excludes(registry, repository):
            return None
        # A name with both tag and digest is none that anybody asks for by tag.
        tagged = reference.digest is None and not self._filters.excludes(registry, repository, reference.tag)
        return Holding(registry, image.target, reference.tag_name if tagged else None)

    async def _walk(self, target: Digest, is_present: Callable[[Digest], Awaitable[bool]]) -> list[Digest]:
        """Return what of an image is in the store, from the top down."""
        found: dict[Digest, None] = {}
        level = [target]
        for _ in range(_MAX_DEPTH):
            below: list[Digest] = []
            for digest in level:
                if digest in found or not await is_present(digest):
                    continue
                node = await self._node(digest)
                if node is None:
                    continue
                found[digest] = None
                below += node.manifests
                for blob in node.blobs:
                    if blob not in found and await is_present(blob):
                        found[blob] = None
            level = below
        return list(found)

    async def _node(self, digest: Digest) -> Children | None:
        """Return what content names; None when it is gone or cannot be read, so cannot be served either."""
        if digest in self._nodes:
            return self._nodes[digest]
        try:
            content = await self._store.open(digest)
            try:
                node = children(await read_document(content))
            finally:
                content.close()
        except NotFoundError:
            return None
        except NotAManifestError:
            node = Children((), ())
        except StoreError as error:
            # One damaged file must not stop everything else; but is it the content or the store that fails?
            await self._store.sources(digest)
            _log.warning("manifest %s is left out: %s", digest, error)
            return None
        self._nodes[digest] = node
        return node

    def _presence(self) -> Callable[[Digest], Awaitable[bool]]:
        """Return a check by single questions, which lists everything instead when there are many."""
        asked = 0
        listed: frozenset[Digest] | None = None

        async def is_present(digest: Digest) -> bool:
            nonlocal asked, listed
            asked += 1
            if asked > _MAX_QUESTIONS and listed is None:
                listed = frozenset(known for known, _ in await self._store.contents())
            if listed is not None:
                return digest in listed
            try:
                await self._store.sources(digest)
            except NotFoundError:
                return False
            return True

        return is_present

    def _registries(self, sources: Sequence[str]) -> Registries:
        registries: Registries = ()
        for source in sources:
            if not self._filters.excludes_source(source):
                registries = merge(registries, source.partition("/")[0])
        return registries
