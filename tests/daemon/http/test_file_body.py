"""Bodies out of files: to the byte, in bounded steps, and never short in silence."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import random
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

import pytest

from benchmarks.simulated.clock import virtual
from daemon.http import file_body
from daemon.http.bucket import TokenBucket
from daemon.http.file_body import COPY_STEP, SENDFILE_STEP, FileBody, TruncatedError
from daemon.http.message import Request, Response
from daemon.mirror.pace import STILLNESS
from tests.daemon.http.wire import Client, serving
from tests.virtual_time import now, virtual_time

DATA = random.Random(0).randbytes(5 * SENDFILE_STEP + 12_345)


class File:
    """Content in a file, or (``plain``) content that can only be read."""

    def __init__(self, path: Path, *, plain: bool = False) -> None:
        self.fd = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self.fd).st_size
        self.plain = plain
        self.closed = 0

    def fileno(self) -> int | None:
        return None if self.plain else self.fd

    async def read(self, offset: int, count: int) -> bytes:
        assert count <= COPY_STEP
        return os.pread(self.fd, min(count, 10_000), offset)

    def close(self) -> None:
        self.closed += 1
        os.close(self.fd)


class Pipe:
    """A sink that takes everything and notes when."""

    def __init__(self, fd: int = -1) -> None:
        self.fd = fd
        self.received = bytearray()
        self.times: list[float] = []
        self.gone = asyncio.Event()

    def fileno(self) -> int:
        return self.fd

    async def pump(self, step: Callable[[], bool]) -> None:
        while step():
            await asyncio.sleep(0)  # as an event loop that asks the socket between two steps

    async def send(self, data: bytes | memoryview) -> None:
        self.received += data
        self.times.append(now())

    async def closed(self) -> None:
        await self.gone.wait()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "blob"
    path.write_bytes(DATA)
    return path


def answering(body: FileBody) -> Response:
    return Response(HTTPStatus.OK, body=body)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    ("first", "length"), [(0, len(DATA)), (1, 1), (SENDFILE_STEP - 1, SENDFILE_STEP + 2), (len(DATA), 0)]
)
async def test_a_part_arrives_to_the_byte(path: Path, first: int, length: int, *, plain: bool) -> None:
    contents: list[File] = []
    progress: list[int] = []

    def handler(request: Request) -> Response:
        contents.append(File(path, plain=plain))
        return answering(FileBody(contents[-1], first, length, sent=progress.append))

    async with serving(handler) as (server, _), await Client.connect(server.port) as client:
        for _ in range(2):
            assert (await client.get("/")).body == DATA[first : first + length]
        await client.get("/", method="HEAD")
    assert [content.closed for content in contents] == [1, 1, 1]
    assert sum(progress) == 2 * length


@pytest.mark.parametrize("plain", [False, True])
async def test_content_that_ends_early_cuts_the_connection(path: Path, *, plain: bool) -> None:
    content = File(path, plain=plain)
    body = FileBody(content, 0, len(DATA) + 1)
    async with (
        serving(lambda _: answering(body)) as (server, notes),
        await Client.connect(server.port) as client,
    ):
        client.ask("/")
        await client.head()
        assert await client.rest() == DATA
    assert notes.ended == [("/", 200, False)]
    assert content.closed == 1


async def test_a_file_that_is_cut_while_it_is_sent(path: Path) -> None:
    content = File(path)
    body = FileBody(content, 0, len(DATA), sent=lambda _: os.truncate(path, 100))
    async with serving(lambda _: answering(body)) as (server, _), await Client.connect(server.port) as client:
        client.ask("/")
        await client.head()
        assert len(await client.rest()) < len(DATA)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS])
async def test_a_file_system_without_sendfile(
    path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sendfile(*_: int) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(file_body.os, "sendfile", sendfile)
    body = FileBody(File(path), 7, 1_000_000)
    async with serving(lambda _: answering(body)) as (server, _), await Client.connect(server.port) as client:
        assert (await client.get("/")).body == DATA[7:1_000_007]


async def test_a_disk_error_cuts_the_connection(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.sendfile, 0

    def sendfile(out: int, source: int, offset: int, count: int) -> int:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(out, source, offset, count)

    monkeypatch.setattr(file_body.os, "sendfile", sendfile)
    content = File(path)
    body = FileBody(content, 0, len(DATA))
    async with (
        serving(lambda _: answering(body)) as (server, notes),
        await Client.connect(server.port) as client,
    ):
        client.ask("/")
        await client.head()
        received = await client.rest()
    assert DATA.startswith(received)
    assert len(received) < len(DATA)
    assert notes.ended == [("/", 200, False)]
    assert content.closed == 1


async def test_no_step_is_longer_than_its_bound_and_transfers_take_turns(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, turns = os.sendfile, []

    def sendfile(out: int, source: int, offset: int, count: int) -> int:
        assert count <= SENDFILE_STEP
        turns.append(source)
        return real(out, source, offset, count)

    monkeypatch.setattr(file_body.os, "sendfile", sendfile)
    bodies = [FileBody(File(path), 0, len(DATA)) for _ in range(3)]
    with open(os.devnull, "wb") as null:  # noqa: PTH123  # it takes everything at once, as a fast client does
        await asyncio.gather(*[body.write_to(Pipe(null.fileno())) for body in bodies])
    assert len(turns) == 18
    assert all(len(set(turns[start : start + 3])) == 3 for start in range(0, 18, 3))
    for body in bodies:
        await body.aclose()


async def test_steps_are_small_where_there_is_a_cap(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With steps of some MB, many transfers would each be silent for so long that receivers give them up."""
    real = os.sendfile

    def sendfile(out: int, source: int, offset: int, count: int) -> int:
        assert count <= COPY_STEP
        return real(out, source, offset, count)

    monkeypatch.setattr(file_body.os, "sendfile", sendfile)
    body = FileBody(File(path), 0, len(DATA), cap=TokenBucket(rate=1e12, burst=1e12))
    with open(os.devnull, "wb") as null:  # noqa: PTH123
        await body.write_to(Pipe(null.fileno()))
    assert body.sent == len(DATA)
    await body.aclose()


@pytest.mark.parametrize(("rate", "count"), [(300_000, 64), (2_500_000, 64), (2_500_000, 512)])
@virtual
async def test_none_of_many_transfers_is_still_for_long_under_a_cap(
    tmp_path: Path, rate: int, count: int
) -> None:
    path = tmp_path / "blob"
    path.write_bytes(DATA[: 4 * COPY_STEP])
    cap = TokenBucket(rate, burst=0)
    sinks = [Pipe() for _ in range(count)]
    bodies = [FileBody(File(path, plain=True), 0, 4 * COPY_STEP, cap=cap) for _ in sinks]
    writing = asyncio.gather(*[body.write_to(sink) for body, sink in zip(bodies, sinks, strict=True)])
    await asyncio.wait([writing], timeout=3)
    writing.cancel()
    await asyncio.wait([writing])
    for sink in sinks:
        gaps = [later - earlier for earlier, later in itertools.pairwise([0, *sink.times])]
        assert max(gaps) < STILLNESS / 2
    for body in bodies:
        await body.aclose()


@virtual_time
async def test_a_cap_is_shared(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(DATA[: 10 * COPY_STEP])
    cap = TokenBucket(rate=64 * COPY_STEP, burst=COPY_STEP)
    sinks = [Pipe(), Pipe()]
    bodies = [FileBody(File(path, plain=True), 0, 10 * COPY_STEP, cap=cap) for _ in sinks]
    await asyncio.gather(*[body.write_to(sink) for body, sink in zip(bodies, sinks, strict=True)])
    # Twenty steps, one of which was free; each second allows 64.
    assert now() == pytest.approx(19 / 64)
    assert [len(sink.received) for sink in sinks] == [10 * COPY_STEP] * 2
    # Neither had to wait for the other's end.
    assert abs(sinks[0].times[-1] - sinks[1].times[-1]) <= 2.01 / 64
    for body in bodies:
        await body.aclose()


@virtual_time
async def test_who_waits_for_the_cap_notices_that_the_client_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(DATA)
    cap = TokenBucket(rate=1, burst=1)
    sink = Pipe()
    body = FileBody(File(path, plain=True), 0, 1000, cap=cap)
    writing = asyncio.ensure_future(body.write_to(sink))
    await asyncio.sleep(5)
    sink.gone.set()
    with pytest.raises(ConnectionResetError):
        await writing
    assert now() == pytest.approx(5)
    assert not sink.received
    await body.aclose()


async def test_the_error_tells_how_much_is_missing(path: Path) -> None:
    body = FileBody(File(path, plain=True), 0, len(DATA) + 3)
    with pytest.raises(TruncatedError, match="content ended 3 bytes early"):
        await body.write_to(Pipe())
    await body.aclose()
