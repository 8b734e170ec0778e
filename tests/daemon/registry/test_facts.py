"""What is remembered of content: never that it is there when it is not."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from daemon.oci.descriptor import OCI_INDEX, Descriptor
from daemon.oci.digest import Digest
from daemon.oci.manifest import MAX_MANIFEST_SIZE
from daemon.registry import facts as module
from daemon.registry.facts import CorruptContentError, Facts, WrongKindError
from daemon.store.base import Content, Event, EventKind, NotFoundError, StoreError
from tests.daemon.images import encode, make_image
from tests.daemon.registry.file_store import FileStore
from tests.daemon.store.memory import MemoryStore
from tests.virtual_time import virtual_time

IMAGE = make_image(1)


def document(number: int, padding: int = 0) -> tuple[Digest, bytes]:
    data = encode(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [],
            "annotations": {"n": str(number), "p": "x" * padding},
        }
    )
    return Digest(f"sha256:{hashlib.sha256(data).hexdigest()}"), data


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    store = FileStore(tmp_path)
    store.add("docker.io/library/alpine:3.20", IMAGE)
    return store


async def test_a_hot_manifest_costs_no_call(store: FileStore) -> None:
    facts = Facts(store)
    assert facts.manifest(IMAGE.index) is None
    first = await facts.load_manifest(IMAGE.index)
    assert store.calls == ["describe", "open"]
    assert await facts.load_manifest(IMAGE.index) is first
    assert facts.manifest(IMAGE.index) is first
    assert (first.data, first.descriptor.media_type) == (IMAGE.blobs[IMAGE.index], OCI_INDEX)
    assert store.calls == ["describe", "open"]


async def test_a_hot_blob_costs_an_open_and_no_description(store: FileStore) -> None:
    facts = Facts(store)
    for _ in range(3):
        (await facts.open(await facts.describe(IMAGE.layers[0]))).close()
    assert store.calls == ["describe", "open", "open", "open"]


@virtual_time
async def test_what_a_name_points_at_is_believed_for_a_second() -> None:
    store = MemoryStore()
    facts, name, other = Facts(store), "docker.io/library/alpine:3.20", make_image(2)
    store.add(name, IMAGE)
    assert [await facts.resolve(name) for _ in range(3)] == [IMAGE.index] * 3
    assert store.calls == ["resolve"]
    store.add(name, other)
    await asyncio.sleep(module.NAME_VALIDITY)
    assert await facts.resolve(name) == other.index
    store.remove_name(name)
    await asyncio.sleep(module.NAME_VALIDITY)
    with pytest.raises(NotFoundError):
        await facts.resolve(name)


@pytest.mark.parametrize("kind", [EventKind.IMAGE_CHANGED, EventKind.IMAGE_DELETED, EventKind.RESYNC])
async def test_an_event_ends_the_belief_in_a_name(kind: EventKind) -> None:
    store = MemoryStore()
    facts, name, other = Facts(store), "docker.io/library/alpine:3.20", make_image(2)
    store.add(name, IMAGE)
    await facts.resolve(name)
    store.add(name, other)
    facts.observe(Event(kind) if kind is EventKind.RESYNC else Event(kind, name))
    assert await facts.resolve(name) == other.index


async def test_names_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CACHED_NAMES", 2)
    store = MemoryStore()
    facts = Facts(store)
    for number in (1, 2, 3, 1):
        store.names[f"docker.io/a:{number}"] = IMAGE.index
        await facts.resolve(f"docker.io/a:{number}")
    assert store.calls == ["resolve"] * 4


async def test_what_garbage_collection_removed_is_gone_without_an_event(store: FileStore) -> None:
    facts = Facts(store)
    await facts.load_manifest(IMAGE.index)
    descriptor = await facts.describe(IMAGE.layers[0])
    (await facts.open(descriptor)).close()
    store.collect(IMAGE)
    assert facts.manifest(IMAGE.index) is None
    with pytest.raises(NotFoundError):
        await facts.load_manifest(IMAGE.index)
    with pytest.raises(NotFoundError):
        await facts.open(descriptor)
    with pytest.raises(NotFoundError):
        await facts.describe(IMAGE.layers[0])
    assert store.still_open == 0


async def test_a_file_that_was_replaced_is_read_again(store: FileStore) -> None:
    facts = Facts(store)
    await facts.load_manifest(IMAGE.index)
    new = store.directory / "new"
    new.write_bytes(IMAGE.blobs[IMAGE.index])
    new.rename(store.path(IMAGE.index))
    assert facts.manifest(IMAGE.index) is None
    assert (await facts.load_manifest(IMAGE.index)).data == IMAGE.blobs[IMAGE.index]


@pytest.mark.parametrize(
    ("event", "kept"),
    [
        (Event(EventKind.CONTENT_DELETED, digest=IMAGE.index), False),
        (Event(EventKind.RESYNC), False),
        (Event(EventKind.CONTENT_DELETED, digest=IMAGE.manifest), True),
        (Event(EventKind.CONTENT_CREATED, digest=IMAGE.index), True),
        (Event(EventKind.IMAGE_DELETED, name="docker.io/library/alpine:3.20"), True),
    ],
)
async def test_events(store: FileStore, event: Event, *, kept: bool) -> None:
    facts = Facts(store)
    await facts.load_manifest(IMAGE.index)
    facts.observe(event)
    assert (facts.manifest(IMAGE.index) is not None) is kept
    assert store.still_open == kept
    await facts.describe(IMAGE.index)
    assert store.calls.count("describe") == (1 if kept else 2)


async def test_of_content_without_a_file_nothing_is_remembered() -> None:
    store = MemoryStore()
    store.add("docker.io/library/alpine:3.20", IMAGE)
    facts = Facts(store)
    for _ in range(2):
        assert (await facts.load_manifest(IMAGE.index)).data == IMAGE.blobs[IMAGE.index]
    assert facts.manifest(IMAGE.index) is None
    store.collect(IMAGE)
    with pytest.raises(NotFoundError):
        await facts.load_manifest(IMAGE.index)
    with pytest.raises(NotFoundError):
        await facts.describe(IMAGE.index)


async def test_a_manifest_that_is_not_what_its_digest_says(store: FileStore) -> None:
    data = IMAGE.blobs[IMAGE.index]
    facts = Facts(store)
    for wrong in (data.replace(b"s390x", b"s390y"), b" " + data[1:]):
        store.path(IMAGE.index).write_bytes(wrong)
        with pytest.raises(CorruptContentError, match="does not match its digest"):
            await facts.load_manifest(IMAGE.index)
    for wrong in (data[:-1], data + b" ", b""):
        store.path(IMAGE.index).write_bytes(wrong)
        with pytest.raises(CorruptContentError, match="bytes instead of"):
            await facts.load_manifest(IMAGE.index)
    assert store.still_open == 0
    assert facts.manifest(IMAGE.index) is None


async def test_a_sha512_manifest(store: FileStore) -> None:
    _, data = document(1)
    digest = Digest(f"sha512:{hashlib.sha512(data).hexdigest()}")
    store.add_content(digest, data)
    assert (await Facts(store).load_manifest(digest)).data == data


async def test_what_is_no_manifest(store: FileStore) -> None:
    with pytest.raises(WrongKindError, match="is no manifest"):
        await Facts(store).load_manifest(IMAGE.layers[0])
    assert store.opened == []


@pytest.mark.parametrize("padding", [module.MAX_CACHED_MANIFEST, 1_000_000])
async def test_a_large_manifest_is_verified_once_and_its_bytes_are_not_kept(
    store: FileStore, padding: int
) -> None:
    digest, data = document(1, padding)
    store.add_content(digest, data)
    facts = Facts(store)
    for _ in range(3):
        manifest = await facts.load_manifest(digest)
        assert (manifest.data, manifest.descriptor.size) == (b"", len(data))
    assert store.calls == ["describe", "open"]


async def test_a_manifest_has_a_largest_size(store: FileStore) -> None:
    digest = Digest("sha256:" + "1" * 64)
    store.add_content(digest, b"")

    async def describe(digest: Digest) -> Descriptor:
        return Descriptor(digest, OCI_INDEX, MAX_MANIFEST_SIZE + 1)

    store.describe = describe  # type: ignore[method-assign]  # such content cannot be made: it is no manifest
    with store.path(digest).open("r+b") as file:
        file.truncate(MAX_MANIFEST_SIZE + 1)
    with pytest.raises(CorruptContentError, match="too large"):
        await Facts(store).load_manifest(digest)
    assert store.still_open == 0


async def test_memory_and_open_files_are_bounded(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CACHED_MANIFESTS", 10)
    monkeypatch.setattr(module, "MAX_CACHED_BYTES", 200_000)
    monkeypatch.setattr(module, "MAX_CACHED_DESCRIPTORS", 20)
    facts = Facts(store)
    small = [document(number) for number in range(30)]
    for digest, data in small:
        store.add_content(digest, data)
        await facts.load_manifest(digest)
        facts.manifest(small[0][0])
    assert store.still_open == 10
    known = [digest for digest, _ in small if facts.manifest(digest)]
    assert known == [digest for digest, _ in [small[0], *small[-9:]]], "the least used go first"
    for number in range(5):
        digest, data = document(number, 60_000)
        store.add_content(digest, data)
        await facts.load_manifest(digest)
    assert store.still_open == 3
    store.calls.clear()
    for digest, _ in small[-15:]:
        await facts.describe(digest)
    assert store.calls == []
    for digest, _ in small[:10]:
        await facts.describe(digest)
    assert store.calls == ["describe"] * 10
    facts.clear()
    assert store.still_open == 0


class SlowStore(FileStore):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.gate = asyncio.Event()

    async def open(self, digest: Digest) -> Content:
        await self.gate.wait()
        return await super().open(digest)


async def test_many_who_want_the_same_cost_one_reading(tmp_path: Path) -> None:
    store = SlowStore(tmp_path)
    store.add("docker.io/library/alpine:3.20", IMAGE)
    facts = Facts(store)
    many = [asyncio.ensure_future(facts.load_manifest(IMAGE.index)) for _ in range(500)]
    await asyncio.sleep(0)
    store.gate.set()
    manifests = await asyncio.gather(*many)
    assert all(manifest is manifests[0] for manifest in manifests)
    assert store.calls == ["describe", "open"]


async def test_many_who_want_the_same_share_its_failure(tmp_path: Path) -> None:
    store = SlowStore(tmp_path)
    store.add("docker.io/library/alpine:3.20", IMAGE)
    facts = Facts(store)
    many = [asyncio.ensure_future(facts.load_manifest(IMAGE.index)) for _ in range(50)]
    await asyncio.sleep(0)
    store.collect(IMAGE)
    store.gate.set()
    for outcome in await asyncio.gather(*many, return_exceptions=True):
        assert isinstance(outcome, NotFoundError)
    assert store.calls == ["describe", "open"]


async def test_who_reads_for_others_may_leave(tmp_path: Path) -> None:
    store = SlowStore(tmp_path)
    store.add("docker.io/library/alpine:3.20", IMAGE)
    facts = Facts(store)
    first, *others = [asyncio.ensure_future(facts.load_manifest(IMAGE.index)) for _ in range(10)]
    await asyncio.sleep(0)
    first.cancel()
    others[0].cancel()
    await asyncio.sleep(0)
    store.gate.set()
    manifests = await asyncio.gather(*others[1:])
    assert len({id(manifest) for manifest in manifests}) == 1
    assert store.calls == ["describe", "describe", "open"]


async def test_a_disk_that_fails_is_a_store_that_fails(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read(self: object, offset: int, count: int) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("daemon.store.files.FileContent.read", read)
    with pytest.raises(StoreError, match="cannot be read: Input/output error"):
        await Facts(store).load_manifest(IMAGE.index)
    assert store.still_open == 0
