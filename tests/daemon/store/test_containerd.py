"""The store of containerd, with the real one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from daemon.oci.descriptor import OCI_INDEX
from daemon.store.base import Event, EventKind, NotFoundError, StoreError
from daemon.store.containerd import ContainerdStore
from tests.daemon.containerd import Containerd, require_containerd
from tests.daemon.images import TestImage, make_image
from tests.daemon.store.conformance import ALPINE, PAUSE, StoreConformance, watching

pytestmark = pytest.mark.root

LABEL = "containerd.io/distribution.source."


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    require_containerd()
    process = Containerd(tmp_path_factory.mktemp("containerd"))
    process.start()
    yield process
    process.stop()


class Daemon:
    """A store, and ctr."""

    def __init__(self, process: Containerd, store: ContainerdStore) -> None:
        self.process = process
        self.store = store

    def add(self, name: str, image: TestImage, namespace: str = "k8s.io") -> None:
        arguments = ("images", "import", "--no-unpack", "--platform", "linux/amd64", "-")
        self.process.ctr(*arguments, namespace=namespace, stdin=image.archive(name))

    def remove(self, name: str) -> None:
        self.process.ctr("images", "rm", "--sync", name)

    def restart(self, meanwhile: Callable[[], None]) -> None:
        self.process.stop()
        self.process.start()
        meanwhile()


@pytest.fixture
async def harness(process: Containerd) -> AsyncIterator[Daemon]:
    daemon = Daemon(process, ContainerdStore(process.socket))
    yield daemon
    await daemon.store.close()
    for namespace in ("k8s.io", "other"):
        if names := process.ctr("images", "ls", "--quiet", namespace=namespace).split():
            process.ctr("images", "rm", "--sync", *names, namespace=namespace)


class TestConformance(StoreConformance):
    """With the fixture above."""


async def test_content_of_another_namespace_is_not_the_stores(harness):
    image = make_image(1)
    harness.add(ALPINE, image, namespace="other")
    assert (harness.process.content / "blobs" / image.index.replace(":", "/")).exists()
    for method in (harness.store.describe, harness.store.open, harness.store.sources):
        with pytest.raises(NotFoundError):
            await method(image.index)
    assert list(await harness.store.images()) == []
    assert list(await harness.store.contents()) == []


async def test_events_of_another_namespace_are_not_reported(harness):
    async with watching(harness.store) as watch:
        await asyncio.to_thread(harness.add, PAUSE, make_image(2), "other")
        await asyncio.to_thread(harness.add, ALPINE, make_image(1))
        await watch.sees(Event(EventKind.IMAGE_CHANGED, ALPINE))
        assert PAUSE not in {event.name for event in watch.events}


async def test_content_once_known_is_described_and_opened_without_asking(harness, monkeypatch):
    image = make_image(1)
    harness.add(ALPINE, image)
    await harness.store.describe(image.index)
    await harness.store.contents()

    async def refuse(*_: object, **__: object) -> None:
        raise AssertionError("containerd was asked")

    monkeypatch.setattr(harness.store._connection, "call", refuse)
    for digest, data in image.blobs.items():
        assert (await harness.store.describe(digest)).size == len(data)
        (await harness.store.open(digest)).close()


async def test_content_without_a_file_is_known_to_be_absent_without_asking(harness, monkeypatch):
    image = make_image(1)
    harness.add(ALPINE, image)
    await harness.store.describe(image.index)

    async def refuse(*_: object, **__: object) -> None:
        raise AssertionError("containerd was asked")

    monkeypatch.setattr(harness.store._connection, "call", refuse)
    with pytest.raises(NotFoundError):
        await harness.store.describe(make_image(2).index)


async def test_sources_are_the_labels_of_a_pull(harness):
    image = make_image(1)
    harness.add(ALPINE, image)
    labels = [f"{LABEL}docker.io=library/alpine,mirror/alpine", f"{LABEL}quay.io=alpine", "other=x"]
    harness.process.ctr("content", "label", image.index, *labels)
    expected = ("docker.io/library/alpine", "docker.io/mirror/alpine", "quay.io/alpine")
    assert await harness.store.sources(image.index) == expected
    assert dict(await harness.store.contents())[image.index] == expected


@pytest.mark.parametrize("path", ["/nowhere", "/" + 300 * "x"], ids=["missing", "an error"])
async def test_the_content_path_is_asked_for_when_the_configured_one_is_no_directory(harness, path):
    harness.add(ALPINE, make_image(1))
    store = ContainerdStore(harness.process.socket, content_path=path)
    content = await store.open(make_image(1).index)
    assert content.fileno() is not None
    content.close()
    await store.close()


async def test_content_comes_through_the_api_when_its_file_cannot_be_opened(harness, tmp_path, caplog):
    image = make_image(1, size=2_500_000)
    harness.add(ALPINE, image)
    store = ContainerdStore(harness.process.socket, content_path=str(tmp_path))
    with caplog.at_level(logging.WARNING):
        content = await store.open(image.layers[0])
        assert content.fileno() is None
        read = b""
        while part := await content.read(len(read), content.size):
            read += part
        assert read == image.blobs[image.layers[0]]
        assert await content.read(5, 3) == image.blobs[image.layers[0]][5:8]
        content.close()
        assert (await store.describe(image.index)).media_type == OCI_INDEX
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "content is read through containerd's API, which is slow"
    ]
    harness.remove(ALPINE)
    with pytest.raises(NotFoundError):
        await content.read(0, 1)
    await store.close()


async def test_a_file_of_another_size_than_containerd_says_is_not_served(harness, tmp_path):
    image = make_image(1)
    harness.add(ALPINE, image)
    blob = tmp_path / "blobs" / image.index.replace(":", "/")
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"{}")
    store = ContainerdStore(harness.process.socket, content_path=str(tmp_path))
    with pytest.raises(StoreError, match="2 bytes"):
        await store.open(image.index)
    await store.close()


async def test_calls_fail_while_containerd_is_away_and_work_when_it_is_back(harness):
    harness.add(ALPINE, make_image(1))
    await harness.store.images()
    await asyncio.to_thread(harness.process.stop)
    with pytest.raises(StoreError) as caught:
        await harness.store.describe(make_image(1).index)
    assert not isinstance(caught.value, NotFoundError)
    await asyncio.to_thread(harness.process.start)
    assert (await harness.store.describe(make_image(1).index)).media_type == OCI_INDEX


async def test_a_watch_waits_for_containerd_to_start(tmp_path):
    require_containerd()
    process = Containerd(tmp_path)
    store = ContainerdStore(process.socket)
    events = store.watch()
    async with asyncio.timeout(30):
        first = asyncio.create_task(anext(events))
        await asyncio.to_thread(process.start)
        assert await first == Event(EventKind.RESYNC)
    await events.aclose()
    await store.close()
    process.stop()


async def test_a_broken_connection_leaves_no_cancellation_behind(harness):
    """grpclib cancels the tasks that wait; one that counts as cancelled makes every TaskGroup in it fail."""
    await harness.store.images()
    calls = [asyncio.create_task(harness.store.images()) for _ in range(20)]
    await asyncio.sleep(0)
    await asyncio.to_thread(harness.process.stop)
    await asyncio.gather(*calls, return_exceptions=True)
    await asyncio.to_thread(harness.process.start)
    assert asyncio.current_task().cancelling() == 0
