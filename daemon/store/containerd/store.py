"""The store itself."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from daemon.oci.descriptor import Descriptor
from daemon.oci.digest import Digest, InvalidDigestError, parse_digest
from daemon.oci.manifest import media_type
from daemon.store.base import Content, Event, EventKind, Image, NotFoundError, StoreError
from daemon.store.containerd.api.content_grpc import ContentStub
from daemon.store.containerd.api.content_pb2 import Info, InfoRequest, ListContentRequest, ListContentResponse
from daemon.store.containerd.api.events_grpc import EventsStub
from daemon.store.containerd.api.events_pb2 import SubscribeRequest
from daemon.store.containerd.api.images_grpc import ImagesStub
from daemon.store.containerd.api.images_pb2 import GetImageRequest, ListImagesRequest
from daemon.store.containerd.api.introspection_grpc import IntrospectionStub
from daemon.store.containerd.api.introspection_pb2 import PluginsRequest
from daemon.store.containerd.connection import Connection
from daemon.store.containerd.content import ApiContent
from daemon.store.containerd.events import event_filters, parse_event
from daemon.store.document import read_document
from daemon.store.files import FileContent, is_missing, open_blob

_SOURCE_LABEL = "containerd.io/distribution.source."
_CALL_TIMEOUT = 3.0
_LIST_TIMEOUT = 30.0
_FIRST_DELAY, _LAST_DELAY = 0.1, 5.0
_SETTLE = 1.0

_log = logging.getLogger(__name__)


class ContainerdStore:
    """containerd's images and content, as one of its namespaces sees them.

    containerd keeps one set of files for all namespaces, so a file is opened only for content that containerd
    said is the namespace's. That is remembered until a delete event, a lost connection or the next
    ``contents()`` says otherwise; what was never told (garbage collection sends no event) shows by the file's
    absence.
    """

    def __init__(self, socket: str, namespace: str = "k8s.io", content_path: str | None = None) -> None:
        """Make the store; must be called on the event loop. containerd need not run yet.

        ``content_path`` is the content plugin's root; without it, or when it is no directory, containerd is
        asked for it.
        """
        self._connection = Connection(socket, namespace)
        channel = self._connection.channel
        self._images = ImagesStub(channel)
        self._content = ContentStub(channel)
        self._events = EventsStub(channel)
        self._introspection = IntrospectionStub(channel)
        self._filters = event_filters(namespace)
        self._content_path = content_path
        self._root: str | None = None
        self._warned = False
        self._sizes: dict[Digest, int] = {}

    async def images(self) -> Sequence[Image]:
        """Return all images whose target has a digest that can be served."""
        reply = await self._connection.call(self._images.List, ListImagesRequest(), timeout=_LIST_TIMEOUT)
        images: list[Image] = []
        for image in reply.images:
            try:
                images.append(Image(image.name, parse_digest(image.target.digest)))
            except InvalidDigestError as error:
                _log.warning("image %s is left out: %s", image.name, error)
        return images

    async def resolve(self, name: str) -> Digest:
        """Return what an image name points at now."""
        reply = await self._connection.call(
            self._images.Get, GetImageRequest(name=name), timeout=_CALL_TIMEOUT
        )
        try:
            return parse_digest(reply.image.target.digest)
        except InvalidDigestError as error:
            raise NotFoundError(f"image {name}: {error}") from error

    def lacks(self, digest: Digest) -> bool:
        """Tell that content has no file: most of what nodes ask for has none. containerd is not asked."""
        root = self._known_root()
        return root is not None and is_missing(root, digest)

    async def describe(self, digest: Digest) -> Descriptor:
        """Return media type and size; asks containerd for no more than ``open`` does."""
        root = await self._content_root()
        if root is not None and is_missing(root, digest):
            raise NotFoundError(f"content {digest} is not in the store")
        content = await self.open(digest)
        try:
            return Descriptor(digest, media_type(await read_document(content)), content.size)
        finally:
            content.close()

    async def open(self, digest: Digest) -> Content:
        """Open content; asks containerd only for what it has not said to be there before."""
        size = self._sizes.get(digest)
        if size is None:
            size = (await self._info(digest)).size
        root = await self._content_root()
        try:
            content = _open_file(root, digest) if root else None
        except OSError as error:
            content = None
            # The file is gone and so is the content, or the file cannot be read: containerd knows.
            size = (await self._info(digest)).size
            if not self._warned:
                self._warned = True
                _log.warning("content is read through containerd's API, which is slow: %s", error)
        if content is None:
            return ApiContent(self._connection, digest, size)
        if content.size != size:
            content.close()
            raise StoreError(f"the file of {digest} has {content.size} bytes, containerd says {size}")
        return content

    async def sources(self, digest: Digest) -> Sequence[str]:
        """Return the repositories in the labels that containerd sets when it pulls."""
        return _sources(await self._info(digest))

    async def contents(self) -> Sequence[tuple[Digest, Sequence[str]]]:
        """Return all content of the namespace."""
        contents: list[tuple[Digest, Sequence[str]]] = []
        sizes: dict[Digest, int] = {}

        def consume(reply: ListContentResponse) -> None:
            for info in reply.info:
                try:
                    digest = parse_digest(info.digest)
                except InvalidDigestError:
                    continue
                sizes[digest] = info.size
                contents.append((digest, _sources(info)))

        await self._connection.stream(
            self._content.List, ListContentRequest(), consume, timeout=_LIST_TIMEOUT
        )
        self._sizes = sizes
        return contents

    async def watch(self) -> AsyncGenerator[Event, None]:
        """Follow containerd's events; when the connection breaks, subscribe again and say RESYNC."""
        clock = asyncio.get_running_loop()
        delay = _FIRST_DELAY
        while True:
            since = clock.time()
            try:
                async with aclosing(self._subscription()) as events:
                    async for event in events:
                        yield event
            except StoreError as error:
                if clock.time() - since > _LAST_DELAY:
                    delay = _FIRST_DELAY
                _log.warning("containerd's events are lost, next try in %.1f s: %s", delay, error)
            await asyncio.sleep(delay)
            delay = min(2 * delay, _LAST_DELAY)

    async def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    async def _subscription(self) -> AsyncGenerator[Event, None]:
        """Yield events until the connection breaks, which raises StoreError.

        containerd does not say when a subscription is in effect (its answer starts with the first event).
        What is read at once may miss what happens until then, so RESYNC comes a second time a little later.
        """
        clock = asyncio.get_running_loop()
        request = SubscribeRequest(filters=self._filters)
        async with self._connection.subscribe(self._events.Subscribe, request) as receive:
            self._forget()
            yield Event(EventKind.RESYNC)
            settled: float | None = clock.time() + _SETTLE
            pending = asyncio.ensure_future(receive())
            try:
                while True:
                    await asyncio.wait([pending], timeout=settled and max(0.0, settled - clock.time()))
                    if settled and clock.time() >= settled:
                        settled = None
                        yield Event(EventKind.RESYNC)
                    if not pending.done():
                        continue
                    event = parse_event(pending.result())
                    pending = asyncio.ensure_future(receive())
                    if event:
                        self._forget(event)
                        yield event
            finally:
                pending.cancel()
                await asyncio.gather(pending, return_exceptions=True)

    def _forget(self, event: Event | None = None) -> None:
        """Forget what an event says is gone; without an event, everything."""
        if event is None:
            self._sizes.clear()
            self._root = None
            self._warned = False
        elif event.kind is EventKind.CONTENT_DELETED and event.digest:
            self._sizes.pop(event.digest, None)

    async def _info(self, digest: Digest) -> Info:
        try:
            reply = await self._connection.call(
                self._content.Info, InfoRequest(digest=digest), timeout=_CALL_TIMEOUT
            )
        except NotFoundError:
            self._sizes.pop(digest, None)
            raise
        self._sizes[digest] = reply.info.size
        return reply.info

    def _known_root(self) -> str | None:
        """Return the directory of the content plugin; None when containerd has to be asked for it."""
        # Unlike Path.is_dir, this is False for a directory that may not be seen, too.
        if self._root is None and self._content_path and os.path.isdir(self._content_path):  # noqa: PTH112 - see above
            self._root = self._content_path
        return self._root

    async def _content_root(self) -> str | None:
        """Return the directory of the content plugin; None when containerd does not tell."""
        if self._known_root() is None:
            request = PluginsRequest(filters=["type==io.containerd.content.v1,id==content"])
            reply = await self._connection.call(self._introspection.Plugins, request, timeout=_CALL_TIMEOUT)
            self._root = next((plugin.exports["root"] for plugin in reply.plugins), None) or None
        return self._root


def _open_file(root: str, digest: Digest) -> FileContent:
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return open_blob(directory, digest)
    finally:
        os.close(directory)


def _sources(info: Info) -> tuple[str, ...]:
    """Read the labels ``containerd.io/distribution.source.<registry>``: a list of repositories, by comma."""
    return tuple(
        f"{label.removeprefix(_SOURCE_LABEL)}/{repository}"
        for label, repositories in sorted(info.labels.items())
        if label.startswith(_SOURCE_LABEL)
        for repository in repositories.split(",")
        if repository
    )
