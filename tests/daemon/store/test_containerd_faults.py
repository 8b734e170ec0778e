"""The store of containerd, with a server in containerd's place that misbehaves as told."""

from __future__ import annotations

import asyncio
import gc
import logging
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from grpclib import GRPCError, Status
from grpclib.server import Server

from daemon.oci.digest import Digest
from daemon.store.base import Event, EventKind, NotFoundError, StoreError
from daemon.store.containerd import ContainerdStore
from daemon.store.containerd.api.content_events_pb2 import ContentCreate, ContentDelete
from daemon.store.containerd.api.events_grpc import EventsBase
from daemon.store.containerd.api.images_grpc import ImagesBase
from daemon.store.containerd.api.images_pb2 import GetImageResponse, Image, ImageCreate, ListImagesResponse
from daemon.store.containerd.api.types_pb2 import Descriptor, Envelope
from daemon.store.containerd.events import parse_event
from tests.virtual_time import now, virtual_time

DIGEST = Digest("sha256:" + "a" * 64)
Answer = Callable[[Any], Awaitable[None]]


class Images(ImagesBase):
    """Answers all calls alike."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    async def Get(self, stream: Any) -> None:  # noqa: N802  # the service's name for it
        await stream.recv_message()
        await self.answer(stream)

    async def List(self, stream: Any) -> None:  # noqa: N802
        await self.Get(stream)


class Events(EventsBase):
    """Answers subscriptions."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    async def Subscribe(self, stream: Any) -> None:  # noqa: N802
        await stream.recv_message()
        await self.answer(stream)


@asynccontextmanager
async def serving(socket: Path, service: Images | Events) -> AsyncIterator[ContainerdStore]:
    server = Server([service])
    await server.start(path=str(socket))
    store = ContainerdStore(str(socket))
    try:
        yield store
    finally:
        await store.close()
        server.close()
        await server.wait_closed()


async def forever(stream: Any) -> None:
    await asyncio.Event().wait()


async def nothing(stream: Any) -> None:
    await stream.send_initial_metadata()


async def refusal(stream: Any) -> None:
    raise GRPCError(Status.FAILED_PRECONDITION, "namespace is required")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (forever, "DEADLINE_EXCEEDED"),
        (nothing, "UNKNOWN"),
        (refusal, "FAILED_PRECONDITION: namespace is required"),
    ],
)
@virtual_time
async def test_a_call_that_fails_is_a_store_error(tmp_path, answer, message):
    async with serving(tmp_path / "socket", Images(answer)) as store:
        with pytest.raises(StoreError, match=message) as caught:
            await store.resolve("docker.io/library/alpine:3.20")
        assert not isinstance(caught.value, NotFoundError)
        assert now() < 5
        assert asyncio.current_task().cancelling() == 0


@virtual_time
async def test_a_connection_that_breaks_is_a_store_error(tmp_path):
    def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_unix_server(close, tmp_path / "socket"):
        store = ContainerdStore(str(tmp_path / "socket"))
        with pytest.raises(StoreError, match="connection to containerd broke"):
            await store.resolve("docker.io/library/alpine:3.20")
        assert asyncio.current_task().cancelling() == 0
        await store.close()


@virtual_time
async def test_a_call_to_a_containerd_that_hangs_is_given_up(tmp_path):
    clients: list[asyncio.StreamWriter] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clients.append(writer)

    async with await asyncio.start_unix_server(accept, tmp_path / "socket"):
        store = ContainerdStore(str(tmp_path / "socket"))
        with pytest.raises(StoreError, match="in time"):
            await store.describe(DIGEST)
        assert 1 < now() < 5
        assert asyncio.current_task().cancelling() == 0
        await store.close()
        for client in clients:
            client.close()


@virtual_time
async def test_calls_beyond_32_wait_for_their_turn(tmp_path):
    under_way = most = 0

    async def answer(stream: Any) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(1)
        under_way -= 1
        await stream.send_message(GetImageResponse(image=Image(target=Descriptor(digest=DIGEST))))

    async with serving(tmp_path / "socket", Images(answer)) as store:
        assert await asyncio.gather(*(store.resolve(str(number)) for number in range(80))) == [DIGEST] * 80
    assert most == 32
    assert now() == pytest.approx(3)


@virtual_time
async def test_nobody_waits_for_the_turn_of_those_who_have_left(tmp_path):
    async with serving(tmp_path / "socket", Images(forever)) as store:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.gather(*(store.resolve(str(number)) for number in range(80)))
        with pytest.raises(StoreError, match="DEADLINE_EXCEEDED"):
            await store.resolve("next")
        assert now() == pytest.approx(4, abs=0.1)


def test_calls_that_have_ended_take_no_memory(tmp_path):
    async def answer(stream: Any) -> None:
        await stream.send_message(GetImageResponse(image=Image(target=Descriptor(digest=DIGEST))))

    async def measure() -> int:
        async with serving(tmp_path / "socket", Images(answer)) as store:

            async def call(times: int) -> int:
                for _ in range(times):
                    await store.resolve("docker.io/library/alpine:3.20")
                gc.collect()
                return tracemalloc.get_traced_memory()[0]

            before = await call(300)
            return await call(200) - before

    tracemalloc.start()
    try:
        assert asyncio.run(measure()) < 10_000  # each that is remembered takes 176 bytes
    finally:
        tracemalloc.stop()


@virtual_time
async def test_images_without_a_usable_digest_are_left_out(tmp_path, caplog):
    async def answer(stream: Any) -> None:
        targets = {"good": DIGEST, "old": "md5:12", "empty": ""}
        images = [Image(name=name, target=Descriptor(digest=digest)) for name, digest in targets.items()]
        await stream.send_message(ListImagesResponse(images=images))

    async with serving(tmp_path / "socket", Images(answer)) as store:
        assert [image.name for image in await store.images()] == ["good"]


@virtual_time
async def test_a_name_without_a_usable_digest_is_not_found(tmp_path):
    async def answer(stream: Any) -> None:
        await stream.send_message(
            GetImageResponse(image=Image(name="old", target=Descriptor(digest="md5:12")))
        )

    async with serving(tmp_path / "socket", Images(answer)) as store:
        with pytest.raises(NotFoundError):
            await store.resolve("old")


@virtual_time
async def test_a_second_resync_covers_the_time_until_the_subscription_takes_effect(tmp_path):
    async with serving(tmp_path / "socket", Events(forever)) as store:
        events = store.watch()
        assert await anext(events) == Event(EventKind.RESYNC)
        start = now()
        assert await anext(events) == Event(EventKind.RESYNC)
        assert now() - start == pytest.approx(1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1000):
                await anext(events)
        await events.aclose()


@virtual_time
async def test_events_that_come_early_do_not_delay_the_second_resync(tmp_path):
    async def answer(stream: Any) -> None:
        for number in range(3):
            payload = ImageCreate(name=str(number)).SerializeToString()
            await stream.send_message(Envelope(topic="/images/create", event=AnyMessage(value=payload)))
        await forever(stream)

    async with serving(tmp_path / "socket", Events(answer)) as store:
        events = store.watch()
        seen = [await anext(events) for _ in range(5)]
        assert [event.name for event in seen] == ["", "0", "1", "2", ""]
        await events.aclose()


@virtual_time
async def test_a_stream_that_ends_is_opened_again_and_everything_read_again(tmp_path):
    async with serving(tmp_path / "socket", Events(nothing)) as store:
        events = store.watch()
        for _ in range(4):
            assert await anext(events) == Event(EventKind.RESYNC)
        assert now() > 0.5
        await events.aclose()


@virtual_time
async def test_the_time_between_two_tries_grows_to_a_limit(tmp_path, caplog):
    store = ContainerdStore(str(tmp_path / "socket"))
    events = store.watch()
    with caplog.at_level(logging.WARNING), pytest.raises(TimeoutError):
        async with asyncio.timeout(25):
            await anext(events)
    await events.aclose()
    await store.close()
    delays = [
        float(record.message.partition("next try in ")[2].partition(" ")[0]) for record in caplog.records
    ]
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0, 5.0]


@pytest.mark.parametrize(
    ("topic", "payload", "expected"),
    [
        ("/images/create", ImageCreate(name="a"), Event(EventKind.IMAGE_CHANGED, "a")),
        ("/images/update", ImageCreate(name="a"), Event(EventKind.IMAGE_CHANGED, "a")),
        ("/images/delete", ImageCreate(name="a"), Event(EventKind.IMAGE_DELETED, "a")),
        ("/content/create", ContentCreate(digest=DIGEST), Event(EventKind.CONTENT_CREATED, digest=DIGEST)),
        ("/content/delete", ContentDelete(digest=DIGEST), Event(EventKind.CONTENT_DELETED, digest=DIGEST)),
        ("/content/delete", ContentDelete(digest="x"), Event(EventKind.RESYNC)),
        ("/containers/create", ImageCreate(name="a"), None),
    ],
)
def test_envelopes_become_events(topic, payload, expected):
    event = AnyMessage(value=payload.SerializeToString())
    assert parse_event(Envelope(topic=topic, event=event)) == expected


def test_an_event_that_cannot_be_understood_means_read_everything():
    assert parse_event(Envelope(topic="/images/create", event=AnyMessage(value=b"\xff"))) == Event(
        EventKind.RESYNC
    )
