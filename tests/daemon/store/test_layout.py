"""The store of an OCI image layout."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from daemon.oci.digest import Digest
from daemon.store.base import Event, EventKind, NotFoundError, StoreError
from daemon.store.files import FileContent
from daemon.store.layout import LayoutStore
from tests.daemon.images import TestImage, encode, make_image
from tests.daemon.store.conformance import ALPINE, PAUSE, StoreConformance, watching


class Layout:
    """An image layout that is written as tools do: the new file beside the old, then renamed over it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.images: dict[str, TestImage] = {}
        (directory / "blobs/sha256").mkdir(parents=True)
        (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        self.write_index()
        self.store = LayoutStore(directory, poll_interval=0.02)

    def blob(self, digest: Digest) -> Path:
        return self.directory / "blobs" / digest.replace(":", "/")

    def write_index(self) -> None:
        descriptors = [image.descriptor(name) for name, image in self.images.items()]
        self.replace_index(encode({"schemaVersion": 2, "manifests": descriptors}))

    def replace_index(self, data: bytes) -> None:
        new = self.directory / "index.json.new"
        new.write_bytes(data)
        new.rename(self.directory / "index.json")

    def add(self, name: str, image: TestImage) -> None:
        for digest, data in image.blobs.items():
            self.blob(digest).write_bytes(data)
        self.images[name] = image
        self.write_index()

    def remove(self, name: str) -> None:
        image = self.images.pop(name)
        self.write_index()
        needed = {digest for other in self.images.values() for digest in other.blobs}
        for digest in image.blobs.keys() - needed:
            self.blob(digest).unlink()

    def restart(self, meanwhile: Callable[[], None]) -> None:
        away = self.directory.with_name("away")
        self.directory.rename(away)
        shutil.copytree(away, self.directory)
        meanwhile()


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[Layout]:
    layout = Layout(tmp_path / "layout")
    yield layout
    await layout.store.close()


class TestConformance(StoreConformance):
    """With the fixture above."""


async def test_a_name_may_come_from_the_reference_annotation(harness):
    harness.add(ALPINE, make_image(1))
    descriptor = make_image(1).descriptor("")
    containerd, oci = "io.containerd.image.name", "org.opencontainers.image.ref.name"
    annotations = [{oci: PAUSE}, {containerd: ALPINE, oci: "3.20"}, {containerd: 5, oci: "x"}, None, {}]
    harness.replace_index(
        encode({"manifests": [{**descriptor, "annotations": each} for each in annotations]})
    )
    assert {image.name for image in await harness.store.images()} == {PAUSE, ALPINE}


async def test_images_that_nobody_can_find_are_told_of_once(harness, caplog):
    harness.add(ALPINE, make_image(1))
    short = {**make_image(2).descriptor("3.20"), "annotations": {"org.opencontainers.image.ref.name": "3.20"}}
    with caplog.at_level(logging.WARNING):
        await harness.store.images()
        assert not caplog.records
        entries = [make_image(1).descriptor(ALPINE), short, {}, 5]
        harness.replace_index(encode({"manifests": entries}))
        for _ in range(3):
            assert [image.name for image in await harness.store.images()] == [ALPINE]
    (message,) = [record.message for record in caplog.records]
    assert "has 3 images without a complete name" in message


@pytest.mark.parametrize(
    "broken", [b"", b'{"schemaVersion":2,"mani', b"[]", b'{"manifests":[{"digest":7}]}x']
)
async def test_the_last_good_index_counts_while_one_is_half_written(harness, broken, caplog):
    harness.add(ALPINE, make_image(1))
    await harness.store.images()
    with caplog.at_level(logging.WARNING):
        (harness.directory / "index.json").write_bytes(broken)
        for _ in range(3):
            assert await harness.store.resolve(ALPINE) == make_image(1).index
        assert [record.message for record in caplog.records if "last state is kept" in record.message]
        assert len(caplog.records) == 1
    harness.add(PAUSE, make_image(2))
    assert await harness.store.resolve(PAUSE) == make_image(2).index


async def test_a_directory_that_is_no_layout_is_a_store_error(tmp_path):
    for store in (LayoutStore(tmp_path), LayoutStore(tmp_path / "absent")):
        with pytest.raises(StoreError):
            await store.images()
    with pytest.raises(StoreError):
        await LayoutStore(tmp_path / "absent").open(make_image(1).index)


async def test_nothing_outside_is_reached_through_links(harness, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("{}")
    harness.add(ALPINE, make_image(1))
    linked, fifo, directory, socket = (Digest(f"sha256:{number:064x}") for number in range(4))
    harness.blob(linked).symlink_to(secret)
    os.mkfifo(harness.blob(fifo))
    harness.blob(directory).mkdir()
    harness.blob(socket).symlink_to("/dev/null")
    for digest in (linked, fifo, directory, socket):
        with pytest.raises(NotFoundError):
            await harness.store.open(digest)
    assert {digest for digest, _ in await harness.store.contents()} == make_image(1).blobs.keys()


async def test_nothing_outside_is_reached_through_linked_directories(harness, tmp_path):
    harness.add(ALPINE, make_image(1))
    (harness.directory / "blobs").rename(tmp_path / "elsewhere")
    (harness.directory / "blobs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotFoundError):
        await harness.store.open(make_image(1).index)
    assert await harness.store.contents() == []


async def test_a_linked_index_is_not_read(harness, tmp_path):
    outside = tmp_path / "index.json"
    outside.write_text(json.dumps({"manifests": [make_image(1).descriptor(PAUSE)]}))
    harness.add(ALPINE, make_image(1))
    (harness.directory / "index.json").unlink()
    (harness.directory / "index.json").symlink_to(outside)
    with pytest.raises(StoreError):
        await harness.store.images()


async def test_sha512_content_is_served(harness):
    digest = Digest("sha512:" + "5" * 128)
    harness.blob(digest).parent.mkdir()
    harness.blob(digest).write_bytes(b"data")
    assert (await harness.store.describe(digest)).size == 4
    assert await harness.store.contents() == [(digest, ())]


async def test_a_blob_shorter_than_it_was_when_opened_is_an_error(harness):
    digest = make_image(1).index
    harness.add(ALPINE, make_image(1))
    descriptor = harness.blob(digest).open("r+b")
    with descriptor:
        descriptor.truncate(10)
    assert (await harness.store.describe(digest)).size == 10
    content = await harness.store.open(digest)
    harness.blob(digest).write_bytes(b"")
    assert await content.read(0, 10) == b""
    content.close()


async def test_content_is_reported_before_the_image_that_needs_it(harness):
    async with watching(harness.store) as watch:
        await asyncio.to_thread(harness.add, ALPINE, make_image(1))
        await watch.sees(Event(EventKind.IMAGE_CHANGED, ALPINE, make_image(1).index))
        seen = [event.digest for event in watch.events if event.kind is EventKind.CONTENT_CREATED]
        assert set(seen) == make_image(1).blobs.keys()
        harness.blob(make_image(1).layers[0]).unlink()
        await watch.sees(Event(EventKind.CONTENT_DELETED, digest=make_image(1).layers[0]))


async def test_a_watch_waits_for_a_directory_that_is_not_there_yet(tmp_path):
    store = LayoutStore(tmp_path / "layout", poll_interval=0.02)
    async with asyncio.timeout(10):
        events = store.watch()
        first = asyncio.create_task(anext(events))
        await asyncio.sleep(0)
        Layout(tmp_path / "layout")
        assert await first == Event(EventKind.RESYNC)
        await events.aclose()


async def test_a_kernel_that_says_nothing_is_there_before_the_end_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """preadv2(2), BUGS: RWF_NOWAIT on Linux 5.9 and 5.10."""
    file = tmp_path / "file"
    file.write_bytes(b"content")
    monkeypatch.setattr(os, "preadv", lambda *_: 0)
    content = FileContent(os.open(file, os.O_RDONLY))
    assert await content.read(3, 10) == b"tent"
    assert await content.read(7, 10) == b""
    content.close()
