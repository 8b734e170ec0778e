"""The store's events become the router's keys, on a clock that takes no time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest

from daemon.metrics import Metrics
from daemon.oci.digest import Digest
from daemon.oci.filters import parse_filters
from daemon.store.base import Event, EventKind
from daemon.sync import Sync
from daemon.sync.backlog import LONG_AFTER_DELETION, MAX_PENDING
from tests.daemon.images import TestImage, make_image
from tests.daemon.store.memory import MemoryStore
from tests.virtual_time import now, virtual_time

ALPINE = "docker.io/library/alpine:3.20"
PAUSE = "registry.k8s.io/pause:3.9"
INTERVAL = 60.0
MOMENT = 0.3


class Router:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.largest = 0

    async def advertise(self, keys: Iterable[str]) -> None:
        keys = list(keys)
        self.largest = max(self.largest, len(keys))
        self.keys.update(keys)

    async def withdraw(self, keys: Iterable[str]) -> None:
        self.keys.difference_update(keys)


class Node:
    """A store, a router and what keeps them in step."""

    def __init__(self, *, mirrored: Iterable[str] = (), expressions: Iterable[str] = ()) -> None:
        self.store = MemoryStore()
        self.router = Router()
        self.metrics = Metrics("test")
        self.seen: list[Event] = []
        filters = parse_filters(mirrored, expressions)
        self.sync = Sync(
            self.store, self.router, filters, self.metrics, observe=self.seen.append, interval=INTERVAL
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.sync.run())
        await asyncio.sleep(MOMENT)
        yield
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    def figure(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"spegel_{name}", labels)


def keys(name: str, image: TestImage) -> set[str]:
    return {name, *image.blobs}


@virtual_time
async def test_what_the_store_has_at_first_is_advertised():
    node = Node()
    node.store.add(ALPINE, make_image(1))
    node.store.names[f"docker.io/library/alpine@{make_image(1).index}"] = make_image(1).index
    node.store.names[make_image(1).config] = make_image(1).config  # as the CRI plugin does
    async with node.running():
        assert node.router.keys == keys(ALPINE, make_image(1))


@virtual_time
async def test_content_that_no_image_needs_and_no_pull_brought_is_not_advertised():
    node = Node()
    node.store.add_content(make_image(3).index, b"something")
    async with node.running():
        assert node.router.keys == set()


@virtual_time
async def test_an_image_that_comes_is_advertised_within_a_moment():
    node = Node()
    async with node.running():
        node.store.add(ALPINE, make_image(1))
        await asyncio.sleep(MOMENT)
        assert node.router.keys == keys(ALPINE, make_image(1))
        assert 0 < node.figure("store_event_lag_seconds") < MOMENT


@virtual_time
async def test_content_is_advertised_while_its_image_is_still_being_pulled():
    node = Node()
    layer = make_image(1).layers[0]
    async with node.running():
        node.store.add_content(layer, b"...")
        await asyncio.sleep(1)
        assert node.router.keys == set()
        node.store.labels[layer] = ("docker.io/library/alpine",)
        await asyncio.sleep(2)
        assert node.router.keys == {layer}


@virtual_time
async def test_a_name_that_points_elsewhere_keeps_the_content_of_both():
    node = Node()
    node.store.add(ALPINE, make_image(1))
    async with node.running():
        node.store.add(ALPINE, make_image(2))
        await asyncio.sleep(MOMENT)
        assert node.router.keys == keys(ALPINE, make_image(1)) | keys(ALPINE, make_image(2))


@virtual_time
async def test_a_deleted_image_takes_its_name_along_and_later_what_was_collected():
    node = Node()
    node.store.add(ALPINE, make_image(1))
    node.store.add(PAUSE, make_image(2))
    async with node.running():
        node.store.remove_name(ALPINE)
        await asyncio.sleep(MOMENT)
        assert node.router.keys == {*make_image(1).blobs, *keys(PAUSE, make_image(2))}
        node.store.collect(make_image(1))
        await asyncio.sleep(3)
        assert node.router.keys == keys(PAUSE, make_image(2))


@virtual_time
async def test_garbage_that_is_collected_late_is_withdrawn_before_the_interval_is_over():
    node = Node()
    node.store.add(ALPINE, make_image(1))
    async with node.running():
        node.store.remove_name(ALPINE)
        await asyncio.sleep(LONG_AFTER_DELETION / 2)
        node.store.collect(make_image(1))
        await asyncio.sleep(LONG_AFTER_DELETION / 2 + 1)
        assert node.router.keys == set()


@virtual_time
async def test_content_that_vanishes_without_an_event_is_withdrawn_after_the_interval():
    node = Node()
    node.store.add(ALPINE, make_image(1))
    node.store.add(PAUSE, make_image(2))
    async with node.running():
        del node.store.blobs[make_image(1).layers[1]]
        await asyncio.sleep(INTERVAL + 1)
        assert node.router.keys == keys(ALPINE, make_image(1)) - {make_image(1).layers[1]} | keys(
            PAUSE, make_image(2)
        )
        del node.store.blobs[make_image(1).index]
        await asyncio.sleep(INTERVAL)
        assert ALPINE not in node.router.keys
        assert Event(EventKind.CONTENT_DELETED, digest=make_image(1).index) in node.seen


@virtual_time
async def test_a_deleted_piece_of_content_is_withdrawn_within_a_moment():
    node = Node()
    node.store.add(ALPINE, make_image(1))
    layer = make_image(1).layers[0]
    async with node.running():
        del node.store.blobs[layer]
        node.store.report(Event(EventKind.CONTENT_DELETED, digest=layer))
        await asyncio.sleep(MOMENT)
        assert node.router.keys == keys(ALPINE, make_image(1)) - {layer}


@virtual_time
async def test_filters_decide_by_registry_repository_and_tag():
    node = Node(mirrored=["https://docker.io"], expressions=[":latest$", "/secret"])
    latest = "docker.io/library/alpine:latest"
    node.store.add(ALPINE, make_image(1))
    node.store.add(latest, make_image(1))
    node.store.add("docker.io/library/busybox:latest", make_image(2))
    node.store.add("docker.io/secret/alpine:3.20", make_image(3))
    node.store.add(PAUSE, make_image(4))
    node.store.add_content(make_image(5).index, b"", "quay.io/alpine", "docker.io/secret/x")
    async with node.running():
        # A filter for tags leaves content alone, which is asked for by digest.
        assert node.router.keys == keys(ALPINE, make_image(1)) | set(make_image(2).blobs)
        node.store.add("quay.io/alpine:1", make_image(6))
        await asyncio.sleep(MOMENT)
        assert node.router.keys == keys(ALPINE, make_image(1)) | set(make_image(2).blobs)


@virtual_time
async def test_what_has_only_names_that_are_filtered_out_is_not_advertised():
    node = Node(expressions=["/secret", "^registry.example:5000/"])
    hidden, tagged_anew, on_a_port, on_another = (make_image(number) for number in range(4))
    sources = (
        (hidden, "quay.io/secret"),
        (tagged_anew, "quay.io/secret"),
        (on_a_port, "registry.example/app"),
        (on_another, "registry.example/tool"),
    )
    for image, source in sources:
        for digest, data in image.blobs.items():
            node.store.add_content(digest, data, source)
    node.store.names |= {
        "quay.io/secret:1": hidden.index,
        "quay.io/secret:2": tagged_anew.index,
        "registry.example:5000/app:1": on_a_port.index,
        "registry.example:6000/tool:1": on_another.index,
    }
    async with node.running():
        another_port = keys("registry.example:6000/tool:1", on_another)
        assert node.router.keys == another_port
        node.store.add("quay.io/public:1", tagged_anew)
        await asyncio.sleep(MOMENT)
        assert node.router.keys == another_port | keys("quay.io/public:1", tagged_anew)
        known = {digest for digest in node.store.blobs if node.sync.advertises(digest)}
        assert known == node.router.keys - node.store.names.keys()


@virtual_time
async def test_a_burst_of_events_ends_in_the_truth():
    node = Node()
    images = {f"docker.io/library/image:{number}": make_image(number) for number in range(100)}
    async with node.running():
        for _ in range(30):
            for name, image in images.items():
                node.store.add(name, image)
        assert len(node.store.calls) < 10
        await asyncio.sleep(10)
        expected = {key for name, image in images.items() for key in keys(name, image)}
        assert node.router.keys == expected
        assert len(node.sync._backlog._looks) <= MAX_PENDING


@virtual_time
async def test_ten_thousand_digests_go_to_the_router_in_portions():
    node = Node()
    for number in range(10_000):
        node.store.add_content(Digest(f"sha256:{number:064x}"), b"", "docker.io/library/a")
    async with node.running():
        assert len(node.router.keys) == 10_000
        assert node.router.largest <= 500
        assert node.figure("advertised_content_digests", registry="docker.io") == 10_000


@virtual_time
async def test_a_store_that_fails_is_asked_again_and_the_errors_are_counted():
    node = Node()
    node.store.add(ALPINE, make_image(1))
    node.store.failing = True
    async with node.running():
        await asyncio.sleep(5)
        assert node.router.keys == set()
        assert node.figure("store_errors_total", operation="list") > 1
        node.store.failing = False
        await asyncio.sleep(20)
        assert node.router.keys == keys(ALPINE, make_image(1))


@virtual_time
async def test_a_store_that_fails_later_takes_nothing_back():
    node = Node()
    node.store.add(ALPINE, make_image(1))
    async with node.running():
        node.store.failing = True
        node.store.add(PAUSE, make_image(2))
        node.store.remove_name(ALPINE)
        await asyncio.sleep(3 * INTERVAL)
        assert node.router.keys == keys(ALPINE, make_image(1))
        assert node.figure("store_errors_total", operation="image") > 1
        node.store.failing = False
        await asyncio.sleep(INTERVAL)
        assert node.router.keys == keys(PAUSE, make_image(2)) | set(make_image(1).blobs)


@virtual_time
async def test_one_damaged_manifest_does_not_stop_the_others(monkeypatch):
    node = Node()
    damaged = make_image(1)
    node.store.add(ALPINE, damaged)
    node.store.add(PAUSE, make_image(2))
    read = node.store.open

    class Short:
        size = 7_000

        def fileno(self) -> None:
            return None

        async def read(self, offset: int, count: int) -> bytes:
            return b"{"[offset:]

        def close(self) -> None:
            pass

    async def open_damaged(digest: Digest) -> object:
        return Short() if digest == damaged.manifest else await read(digest)

    monkeypatch.setattr(node.store, "open", open_damaged)
    async with node.running():
        assert node.router.keys == keys(PAUSE, make_image(2)) | {ALPINE, damaged.index}


@virtual_time
async def test_the_figures_are_kept_by_registry():
    node = Node()
    node.store.add(ALPINE, make_image(1))
    node.store.add("quay.io/alpine:3.20", make_image(1))
    node.store.add(PAUSE, make_image(2))
    async with node.running():
        for registry in ("docker.io", "quay.io", "registry.k8s.io"):
            assert node.figure("advertised_image_tags", registry=registry) == 1
            assert node.figure("advertised_image_digests", registry=registry) == 1
            assert node.figure("advertised_content_digests", registry=registry) == 5
            assert node.figure("advertised_keys", registry=registry) == 6
        node.store.remove_name(PAUSE)
        node.store.collect(make_image(2))
        await asyncio.sleep(3)
        assert node.figure("advertised_keys", registry="registry.k8s.io") is None
        assert node.figure("advertised_keys", registry="docker.io") == 6


@virtual_time
async def test_the_store_is_not_read_more_often_than_needed():
    node = Node()
    node.store.add(ALPINE, make_image(1))
    async with node.running():
        node.store.calls.clear()
        start = now()
        await asyncio.sleep(10 * INTERVAL)
        assert node.store.calls.count("contents") == 10
        assert "open" not in node.store.calls  # manifests are immutable: they are read once
        assert now() == start + 10 * INTERVAL


@virtual_time
async def test_an_index_that_names_very_much_is_not_asked_for_piece_by_piece():
    node = Node()
    digests = [Digest(f"sha256:{number:064x}") for number in range(5_000)]
    document = json.dumps({"manifests": [{"digest": digest} for digest in digests]}).encode()
    index = Digest("sha256:" + "f" * 64)
    image = TestImage(index, index, index, (), {index: document, digests[4_999]: b"[]"})
    async with node.running():
        node.store.calls.clear()
        node.store.add(ALPINE, image)
        await asyncio.sleep(MOMENT)
        assert node.router.keys == {ALPINE, index, digests[4_999]}
        assert len(node.store.calls) < 300
