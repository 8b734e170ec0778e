"""The server over real sockets: order, keep-alive, errors, bodies, clients that leave."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from http import HTTPStatus

import pytest

from daemon.http.connection import Connection, Service
from daemon.http.limits import Limits
from daemon.http.message import Request, Response, Sink
from tests.daemon.http.wire import Client, Gate, Notes, WatchfulGate, echo, event, ok, routes, serving

BIG = bytes(range(256)) * 40_000


async def test_one_connection_serves_many_requests() -> None:
    async with serving(echo) as (server, notes), await Client.connect(server.port) as client:
        for number in range(5):
            reply = await client.get(f"/{number}")
            assert (reply.status, reply.body) == (200, f"/{number}".encode())
            assert "connection" not in reply.headers
            assert reply.headers["date"].endswith(" GMT")
        assert server.connections == 1
    assert notes.ended == [(f"/{number}", 200, True) for number in range(5)]


async def test_a_head_in_single_bytes() -> None:
    async with serving(echo) as (server, _), await Client.connect(server.port) as client:
        for byte in b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n":
            client.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.reply()).body == b"/slow"


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    gate = asyncio.Event()

    async def slow(request: Request) -> Response:
        await gate.wait()
        return ok(b"slow")

    async with serving(routes(slow=slow)) as (server, _), await Client.connect(server.port) as client:
        for path in ("/1", "/slow", "/2", "/slow", "/3"):
            client.ask(path)
        assert (await client.reply()).body == b"/1"
        gate.set()
        assert [(await client.reply()).body for _ in range(4)] == [b"slow", b"/2", b"slow", b"/3"]


async def test_a_thousand_pipelined_requests() -> None:
    async with serving(echo) as (server, _), await Client.connect(server.port) as client:
        for number in range(1000):
            client.ask(f"/{number}")
        for number in range(1000):
            assert (await client.reply()).body == f"/{number}".encode()


async def test_send_buffers_of_all_bodies_together_are_bounded() -> None:
    def buffer(fd: int) -> int:
        with socket.socket(fileno=os.dup(fd)) as sock:
            return sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)

    class Measured(Gate):
        async def wait(self, sink: Sink) -> None:
            buffers.append(buffer(sink.fileno()))
            await super().wait(sink)

    buffers: list[int] = []
    body = Measured(b"a", b"b")
    async with serving(lambda _: ok(body)) as (server, _), contextlib.AsyncExitStack() as clients:
        for number in range(500):
            host = f"10.0.0.{number // 50}"
            client = await clients.enter_async_context(await Client.adopted(server, host))
            client.ask("/")
            while len(buffers) == number:
                await asyncio.sleep(0)
        assert sum(buffers[2:]) < 30 * 2**20
        near = await clients.enter_async_context(await Client.connect(server.port))
        near.ask("/")
        await near.head()
        assert buffers[-1] == 128 * 1024
        body.opened.set()


async def test_the_kernel_sizes_the_send_buffer_of_a_single_body() -> None:
    def is_fixed(sink: Sink) -> bool:
        with socket.socket(fileno=os.dup(sink.fileno())) as sock:
            try:
                return bool(sock.getsockopt(socket.SOL_SOCKET, 72) & 1)  # SO_BUF_LOCK, SOCK_SNDBUF_LOCK
            except OSError:
                pytest.skip("needs Linux 5.17")

    class Noting(Gate):
        async def wait(self, sink: Sink) -> None:
            fixed.append(is_fixed(sink))
            await super().wait(sink)

    fixed: list[bool] = []
    rush, calm = Noting(b"a", b"b"), Noting(b"a", b"b")
    answers = routes(rush=lambda _: ok(rush), calm=lambda _: ok(calm))
    async with serving(answers) as (server, _), contextlib.AsyncExitStack() as clients:
        for _ in range(4):
            client = await clients.enter_async_context(await Client.connect(server.port))
            client.ask("/rush")
            await client.head()
        assert fixed == [False, True, True, True]
        rush.opened.set()
        await client.reader.readexactly(2)
        client.ask("/calm")
        await client.head()
        assert fixed[-1] is False
        calm.opened.set()


async def test_what_is_read_ahead_is_bounded() -> None:
    gate = asyncio.Event()

    async def slow(request: Request) -> Response:
        await gate.wait()
        return ok(b"slow")

    request = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
    async with serving(routes(slow=slow)) as (server, notes):
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            client.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            client.setblocking(False)
            sent = idle = 0
            while idle < 50:  # turns of the loop in which nothing more was taken
                try:
                    sent += client.send(request * 100)
                    idle = 0
                except BlockingIOError:
                    idle += 1
                await asyncio.sleep(0)
            assert sent < 2_000_000
            gate.set()
            answers = 0
            while answers < sent // len(request):
                try:
                    answers += client.recv(1 << 20).count(b"HTTP/1.1 200")
                except BlockingIOError:
                    await asyncio.sleep(0)
        assert notes.ended[0] == ("/slow", 200, True)


@pytest.mark.parametrize("kind", ["at once", "later"])
async def test_head_has_the_length_and_no_body(kind: str) -> None:
    def answer(request: Request) -> Response:
        return Response(HTTPStatus.OK, body=b"12345")

    async def later(request: Request) -> Response:
        return answer(request)

    handler = routes(x=answer if kind == "at once" else later)
    async with serving(handler) as (server, _), await Client.connect(server.port) as client:
        head = await client.get("/x", method="HEAD")
        get = await client.get("/x")
        assert head.headers["content-length"] == get.headers["content-length"] == "5"
        assert get.body == b"12345"


async def test_head_of_what_writes_itself_only_releases_it() -> None:
    gate = Gate(b"123", b"45")
    stated = Response(HTTPStatus.OK, head_length=7)
    handler = routes(x=lambda _: ok(gate), y=lambda _: stated)
    async with serving(handler) as (server, _), await Client.connect(server.port) as client:
        assert (await client.get("/x", method="HEAD")).headers["content-length"] == "5"
        assert (await client.get("/y", method="HEAD")).headers["content-length"] == "7"
        assert (await client.get("/z")).body == b"/z"
    assert gate.releases == 1
    assert not gate.waiting.is_set()


@pytest.mark.parametrize(
    "head", ["GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET /x HTTP/1.0\r\n\r\n"]
)
async def test_a_connection_that_is_to_end_ends_after_the_answer(head: str) -> None:
    async with serving(echo) as (server, notes), await Client.connect(server.port) as client:
        client.send(head.encode() + b"GET /y HTTP/1.1\r\nHost: a\r\n\r\n")
        reply = await client.reply()
        assert (reply.body, reply.headers["connection"]) == (b"/x", "close")
        assert await client.rest() == b""
    assert [path for path, *_ in notes.ended] == ["/x"]


async def test_a_client_that_only_closes_its_sending_side_gets_its_answers() -> None:
    async def slow(request: Request) -> Response:
        await asyncio.sleep(0)
        return ok(BIG)

    async with serving(routes(slow=slow)) as (server, _), await Client.connect(server.port) as client:
        client.ask("/1")
        client.ask("/slow")
        client.ask("/2")
        client.writer.write_eof()
        assert [(await client.reply()).body for _ in range(3)] == [b"/1", BIG, b"/2"]
        assert await client.rest() == b""


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\n", 400),
        (b"GET /" + b"x" * 20_000, 414),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 20_000, 431),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ],
)
async def test_what_is_no_request_is_answered_and_ends_the_connection(request_: bytes, status: int) -> None:
    async with serving(echo) as (server, notes), await Client.connect(server.port) as client:
        client.ask("/before")
        client.send(request_)
        client.ask("/after")
        assert (await client.reply()).body == b"/before"
        reply = await client.reply()
        assert reply.status == status
        assert reply.headers["connection"] == "close"
        assert reply.headers["content-type"] == "application/json"
        (error,) = json.loads(reply.body)["errors"]
        assert error["code"] == "UNSUPPORTED"
        assert error["message"]
        assert await client.rest() == b""
    assert notes.refusals == [status]
    assert [path for path, *_ in notes.ended] == ["/before"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
async def test_other_methods_are_refused(method: str) -> None:
    async with serving(echo) as (server, _), await Client.connect(server.port) as client:
        reply = await client.get("/v2/x/blobs/uploads/", method=method)
        assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")


async def test_an_uploader_can_read_why_it_was_refused() -> None:
    async with serving(echo) as (server, _), await Client.connect(server.port) as client:
        client.ask("/v2/x/blobs/uploads/", "Content-Length: 3000000", method="POST")
        client.send(bytes(3_000_000))
        reply = await client.reply()
        assert (reply.status, b"no body" in reply.body) == (413, True)


@pytest.mark.parametrize(
    "kind", ["raises", "raises later", "bad field", "bad field later", "bad field of a body"]
)
async def test_a_handler_that_breaks_is_answered_with_an_error_document(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate(b"x")
    split = (("Content-Type", "a/b\r\nX-Spegel-Mirrored: true"),)

    def broken(request: Request) -> Response:
        if kind == "raises":
            raise RuntimeError("secret")
        return Response(HTTPStatus.OK, split)

    async def broken_later(request: Request) -> Response:
        if kind == "raises later":
            raise RuntimeError("secret")
        return Response(HTTPStatus.OK, split, gate if kind == "bad field of a body" else b"")

    handler = routes(x=broken if kind in {"raises", "bad field"} else broken_later)
    async with serving(handler) as (server, notes), await Client.connect(server.port) as client:
        reply = await client.get("/x")
        assert reply.status == 500
        assert json.loads(reply.body)["errors"][0]["code"] == "UNKNOWN"
        assert b"secret" not in reply.body
        assert (await client.get("/y")).body == b"/y"
    assert notes.ended[0] == ("/x", 500, True)
    assert gate.releases == (kind == "bad field of a body")
    assert "the handler broke at /x" in caplog.text


async def test_answers_larger_than_the_socket_takes_at_once() -> None:
    async with serving(lambda _: ok(BIG)) as (server, _), await Client.connect(server.port) as client:
        client.ask("/1")
        client.ask("/2")
        for _ in range(2):
            assert (await client.reply()).body == BIG


async def test_a_body_lends_the_socket_and_gives_it_back() -> None:
    gates = [Gate(b"a" * 100, BIG), Gate(b"", b"")]
    gates[0].opened.set()
    answers = iter(gates)
    handler = routes(x=lambda _: Response(HTTPStatus.OK, body=next(answers)))
    async with serving(handler) as (server, _), await Client.connect(server.port) as client:
        client.ask("/x")
        client.ask("/y")
        client.ask("/x")
        client.ask("/z")
        assert (await client.reply()).body == b"a" * 100 + BIG
        assert (await client.reply()).body == b"/y"
        assert (await client.reply()).body == b""
        assert (await client.reply()).body == b"/z"
    assert [gate.releases for gate in gates] == [1, 1]


@pytest.mark.parametrize("error", [RuntimeError("disk"), OSError(5, "I/O error"), EOFError(), TimeoutError()])
async def test_a_body_that_fails_cuts_the_connection(error: Exception) -> None:
    class Failing(Gate):
        async def wait(self, sink: object) -> None:
            raise error

    gate = Failing(b"half", length=100)
    handler = routes(x=lambda _: Response(HTTPStatus.OK, body=gate))
    async with serving(handler) as (server, notes), await Client.connect(server.port) as client:
        client.ask("/x")
        client.ask("/never")
        with contextlib.suppress(ConnectionResetError):  # it may overtake what was sent before
            status, headers = await client.head()
            assert (status, headers["content-length"]) == (200, "100")
            received = await client.rest()
            assert len(received) < 100
            assert b"half".startswith(received[:4])
    assert notes.ended == [("/x", 200, False)]
    assert gate.releases == 1


@pytest.mark.parametrize(
    ("body", "how"),
    [
        (WatchfulGate, "closes"),
        (WatchfulGate, "closes while more is read ahead"),
        (WatchfulGate, "resets"),
        (Gate, "resets"),
    ],
)
async def test_a_client_that_leaves_midway_releases_the_body_at_once(body: type[Gate], how: str) -> None:
    gate = body(b"half", length=100)
    handler = routes(x=lambda _: Response(HTTPStatus.OK, body=gate))
    async with serving(handler) as (server, notes):
        client = await Client.connect(server.port)
        client.ask("/x")
        await event(gate.waiting)
        if how == "closes while more is read ahead":
            client.ask("/y")
        await client.reader.readexactly(4)
        client.reset() if how == "resets" else client.close()
        await event(gate.released)
    assert gate.releases == 1
    assert not gate.opened.is_set()
    assert notes.ended == [("/x", 200, False)]


async def test_a_client_that_resets_ends_a_handler_at_once() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> Response:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    async with serving(routes(x=slow)) as (server, notes):
        client = await Client.connect(server.port)
        client.ask("/x")
        await event(started)
        client.reset()
        await event(ended)
    assert notes.ended[0][2] is False


async def test_a_client_that_leaves_before_the_body_starts_releases_it_too() -> None:
    gate = Gate(b"x")
    asked = asyncio.Event()
    go_on = asyncio.Event()

    async def slow(request: Request) -> Response:
        asked.set()
        with contextlib.suppress(asyncio.CancelledError):  # what it had asked for was there already
            await go_on.wait()
        return Response(HTTPStatus.OK, body=gate)

    async with serving(routes(x=slow)) as (server, _):
        client = await Client.connect(server.port)
        client.ask("/x")
        await event(asked)
        client.reset()
        await event(gate.released)
    assert gate.releases == 1


async def test_a_cut_before_the_first_step_releases_the_body() -> None:
    gate = Gate(b"x")
    ended: list[Connection] = []

    def handler(request: Request) -> Response:
        asyncio.get_running_loop().call_soon(connection.abort)
        return ok(gate)

    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    connection = Connection(theirs, "127.0.0.1", Service(handler, Notes(), Limits()), ended.append)
    with ours:
        ours.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await event(gate.released)
        while not ended:
            await asyncio.sleep(0)
    assert gate.releases == 1


async def test_five_hundred_clients_at_once() -> None:
    turnstile = asyncio.Event()
    arrived = 0

    async def together(request: Request) -> Response:
        nonlocal arrived
        arrived += 1
        if arrived == 500:
            turnstile.set()
        await turnstile.wait()
        return ok(request.path.encode())

    async def one(port: int, number: int) -> bytes:
        async with await Client.connect(port) as client:
            return (await client.get(f"/{number}")).body

    async with serving(together) as (server, _):
        answers = await asyncio.gather(*[one(server.port, number) for number in range(500)])
    assert answers == [f"/{number}".encode() for number in range(500)]
