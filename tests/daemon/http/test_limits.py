"""Time and numbers: slow clients, many clients, and the end of the server. The clock is the test's own."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import resource
import socket

import pytest

from daemon.http import sockets
from daemon.http.limits import Admission, Limits, Scope, client_address, is_loopback
from daemon.http.message import Request, Response
from daemon.http.sockets import ListenError
from tests.daemon.http.wire import Client, Gate, echo, event, ok, routes, serving
from tests.virtual_time import now, virtual_time

LIMITS = Limits()
TICK = 1.0
"""The server looks at its clock once a second."""
BIG = bytes(5_000_000)


async def waits_forever(request: Request) -> Response:
    await asyncio.Event().wait()
    raise AssertionError


@virtual_time
async def test_a_connection_that_says_nothing_is_closed() -> None:
    async with serving(echo) as (server, _), await Client.connect(server.port) as client:
        assert await client.rest() == b""
        assert LIMITS.head <= now() <= LIMITS.head + TICK


@virtual_time
async def test_a_head_that_does_not_end_is_refused() -> None:
    async with serving(echo) as (server, notes), await Client.connect(server.port) as client:
        reply = asyncio.ensure_future(client.reply())
        client.send(b"GET / HTTP/1.1\r\n")
        while not reply.done():
            client.send(b"X-Slow: loris\r\n")
            await asyncio.wait([reply], timeout=0.5)
        assert (await reply).status == 408
        assert LIMITS.head <= now() <= LIMITS.head + TICK
        assert await client.rest() == b""
    assert notes.refusals == [408]


@virtual_time
async def test_a_second_head_has_its_own_time() -> None:
    async with serving(echo) as (server, _), await Client.connect(server.port) as client:
        await client.get("/x")
        await asyncio.sleep(LIMITS.idle - 5)
        client.send(b"GET /y HTTP/1.1\r\n")
        await asyncio.sleep(LIMITS.head - 2)
        client.send(b"Host: a\r\n\r\n")
        assert (await client.reply()).body == b"/y"


@virtual_time
async def test_an_idle_connection_is_closed() -> None:
    async with serving(echo) as (server, _), await Client.connect(server.port) as client:
        await client.get("/x")
        assert await client.rest() == b""
        assert LIMITS.idle <= now() <= LIMITS.idle + 2 * TICK


@virtual_time
async def test_after_its_lifetime_a_connection_is_not_kept() -> None:
    async with (
        serving(echo, Limits(lifetime=20.0)) as (server, _),
        await Client.connect(server.port) as client,
    ):
        for _ in range(4):
            await asyncio.sleep(4)
            assert "connection" not in (await client.get("/x")).headers
        await asyncio.sleep(5)
        assert (await client.get("/x")).headers["connection"] == "close"
        assert await client.rest() == b""


@virtual_time
async def test_an_answer_that_does_not_come_cuts_the_connection() -> None:
    async with serving(waits_forever) as (server, notes), await Client.connect(server.port) as client:
        client.ask("/x")
        assert await client.rest() == b""
        assert LIMITS.answer <= now() <= LIMITS.answer + 2 * TICK
    assert notes.ended[0][2] is False


@pytest.mark.parametrize("kind", ["bytes", "body"])
@virtual_time
async def test_a_client_that_takes_nothing_is_cut(kind: str) -> None:
    gate = Gate(BIG)
    async with serving(lambda _: ok(BIG if kind == "bytes" else gate)) as (server, notes):
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            while not notes.ended:
                await asyncio.sleep(TICK)
            assert LIMITS.stall <= now() <= LIMITS.stall + 4 * TICK
            assert server.connections == 0
    assert notes.ended == [("/", 200, False)]
    if kind == "body":
        assert isinstance(gate.error, TimeoutError)
        assert gate.releases == 1


@virtual_time
async def test_a_transfer_has_an_end() -> None:
    gate = Gate(b"x", b"y")
    async with serving(lambda _: ok(gate), Limits(transfer=50.0)) as (server, _):
        async with await Client.connect(server.port) as client:
            client.ask("/x")
            await event(gate.released)
        assert 50.0 <= now() <= 50.0 + 2 * TICK


@virtual_time
async def test_who_is_refused_may_not_go_on_sending_for_ever() -> None:
    async with serving(echo) as (server, _), await Client.connect(server.port) as client:
        client.ask("/x", method="POST")
        assert (await client.reply()).status == 405
        while server.connections:
            client.send(b"x")
            await asyncio.sleep(0.1)
        assert now() <= LIMITS.linger + 2 * TICK


@virtual_time
async def test_who_is_refused_and_leaves_is_noticed_at_once() -> None:
    async with serving(echo) as (server, _), await Client.connect(server.port) as client:
        client.send(b"GET / HTTP/1.1\r\n")
        await asyncio.sleep(0.1)
        client.send(b"A: " + bytes(40_000).replace(b"\x00", b"a"))
        assert (await client.reply()).status == 431
        client.reset()
        left = now()
        while server.connections:
            await asyncio.sleep(0.01)
        assert now() - left < 0.5


async def test_one_client_cannot_take_all_connections() -> None:
    limits = Limits(connections=6, remote_connections=4, client_connections=2)
    async with serving(waits_forever, limits) as (server, notes):

        async def enters(address: str) -> bool:
            before = server.connections
            client = await Client.adopted(server, address)
            clients.append(client)
            client.ask("/x")
            if server.connections > before:
                return True
            assert await client.rest() == b""
            return False

        clients: list[Client] = []
        assert [await enters("10.0.0.1") for _ in range(3)] == [True, True, False]
        assert [await enters("fd00::1") for _ in range(3)] == [True, True, False]
        assert not await enters("10.0.0.2"), "other hosts together"
        assert [await enters("127.0.0.1") for _ in range(2)] == [True, True]
        assert not await enters("::1"), "all together"
        clients[0].reset()
        while server.connections == limits.connections:
            await asyncio.sleep(0)
        assert [await enters("10.0.0.2") for _ in range(2)] == [True, False]
        for client in clients:
            client.close()
    assert notes.turned_away_by == [Scope.CLIENT, Scope.CLIENT, Scope.REMOTE, Scope.ALL, Scope.REMOTE]


@virtual_time
async def test_refused_connections_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    async def knock() -> None:
        async with await Client.adopted(server, "10.0.0.1") as client:
            assert await client.rest() == b""

    def lines() -> list[tuple[object, ...]]:
        return [(record.levelname, record.count, record.reason, record.ip) for record in caplog.records]

    async with serving(waits_forever, Limits(client_connections=0)) as (server, notes):
        for _ in range(3):
            await knock()
        assert lines() == [("WARNING", 1, "client", "10.0.0.1")]
        await asyncio.sleep(59)
        assert len(lines()) == 1
        await asyncio.sleep(2)
        assert lines()[1:] == [("WARNING", 2, "client", "10.0.0.1")]
        await asyncio.sleep(200)
        assert len(lines()) == 2
        await knock()
        assert lines()[2:] == [("WARNING", 1, "client", "10.0.0.1")]
    assert len(notes.turned_away_by) == 4


async def test_who_has_been_idle_for_longest_makes_room() -> None:
    limits = Limits(connections=4, remote_connections=3, client_connections=2)
    async with serving(routes(busy=waits_forever), limits) as (server, _):
        busy = await Client.adopted(server, "10.0.0.1")
        busy.ask("/busy")
        other = await Client.adopted(server, "10.0.0.2")
        await other.get("/x")
        idle = await Client.adopted(server, "10.0.0.1")
        await idle.get("/x")
        # The client's own limit is reached, so it is its own connection that goes, not the other's.
        another = await Client.adopted(server, "10.0.0.1")
        assert await idle.rest() == b""
        assert (await another.get("/x")).status == 200
        # And now the limit of all other hosts: the one that was asked for last stays.
        third = await Client.adopted(server, "10.0.0.3")
        assert await other.rest() == b""
        assert (await third.get("/x")).status == 200
        assert (await another.get("/x")).status == 200
        # Nobody idle, no room.
        third.ask("/busy")
        another.ask("/busy")
        await asyncio.sleep(0.01)
        fourth = await Client.adopted(server, "10.0.0.4")
        assert await fourth.rest() == b""
        local = await Client.adopted(server, "127.0.0.1")
        assert (await local.get("/x")).status == 200
        for client in (busy, idle, other, another, third, fourth, local):
            client.close()


def test_admission_forgets_clients_that_left() -> None:
    admission = Admission(Limits(connections=3, remote_connections=2, client_connections=1))
    admission.enter("10.0.0.1")
    assert admission.full("10.0.0.1") is Scope.CLIENT
    admission.enter("10.0.0.2")
    assert admission.full("10.0.0.3") is Scope.REMOTE
    assert admission.full("::1") is None
    admission.enter("::1")
    assert admission.full("::1") is Scope.ALL
    for client in ("10.0.0.1", "10.0.0.2", "::1"):
        admission.leave(client)
    assert [admission.full(client) for client in ("10.0.0.1", "::1")] == [None, None]


@pytest.mark.parametrize(
    ("host", "client", "loopback"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.1.2.3", "127.1.2.3", True),
        ("::1", "::1", True),
        ("::ffff:127.0.0.1", "127.0.0.1", True),
        ("::ffff:10.0.0.1", "10.0.0.1", False),
        ("fd00::1", "fd00::1", False),
        ("fe80::1%eth0", "fe80::1", False),
    ],
)
def test_client_addresses(host: str, client: str, loopback: bool) -> None:
    assert client_address(host) == client
    assert is_loopback(client) is loopback


async def test_no_file_descriptor_left_is_a_pause_and_no_end(caplog: pytest.LogCaptureFixture) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    async with serving(echo) as (server, _):
        with socket.socket() as client:
            client.setblocking(False)
            resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 20, hard))
            try:
                with contextlib.suppress(OSError):
                    while True:
                        taken.append(os.dup(client.fileno()))
                client.connect_ex(("127.0.0.1", server.port))
                while "cannot accept" not in caplog.text:
                    await asyncio.sleep(0)
            finally:
                for fd in taken:
                    os.close(fd)
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert len(caplog.records) == 1
            while not server.connections:
                await asyncio.sleep(0.01)


@virtual_time
async def test_draining_lets_answers_end_and_accepts_nothing_more() -> None:
    gate, later = Gate(b"half", b"rest"), asyncio.Event()

    async def slow(request: Request) -> Response:
        await later.wait()
        return ok(b"slow")

    handler = routes(x=lambda _: ok(gate), slow=slow)
    async with serving(handler) as (server, notes):
        port = server.port
        idle, body, waiting = [await Client.connect(port) for _ in range(3)]
        await idle.get("/idle")
        body.ask("/x")
        await event(gate.waiting)
        waiting.ask("/slow")
        await asyncio.sleep(0.1)
        drained = asyncio.ensure_future(server.drain(30))
        assert await idle.rest() == b""
        with pytest.raises(ConnectionRefusedError):
            await Client.connect(port)
        assert not drained.done()
        gate.opened.set()
        later.set()
        assert (await body.reply()).body == b"halfrest"
        reply = await waiting.reply()
        assert (reply.body, reply.headers["connection"]) == (b"slow", "close")
        assert await body.rest() == b""
        assert await waiting.rest() == b""
        await drained
        assert now() < 5
        for client in (idle, body, waiting):
            client.close()
    assert all(complete for *_, complete in notes.ended)


@virtual_time
async def test_draining_cuts_what_does_not_end() -> None:
    gate = Gate(b"half", length=100)
    handler = routes(x=lambda _: ok(gate), y=waits_forever)
    async with serving(handler) as (server, notes), await Client.connect(server.port) as client:
        other = await Client.connect(server.port)
        client.ask("/x")
        other.ask("/y")
        await event(gate.waiting)
        await server.drain(7)
        assert 7 <= now() <= 7 + TICK
        assert gate.releases == 1
        assert server.connections == 0
        other.close()
    assert [complete for *_, complete in notes.ended] == [False, False]


@virtual_time
async def test_draining_returns_even_when_a_body_does_not_let_go(caplog: pytest.LogCaptureFixture) -> None:
    class Clinging(Gate):
        async def aclose(self) -> None:
            await letting_go.wait()
            await super().aclose()

    letting_go, gate = asyncio.Event(), Clinging(b"half", length=100)
    async with serving(lambda _: ok(gate)) as (server, _), await Client.connect(server.port) as client:
        client.ask("/x")
        await event(gate.waiting)
        with caplog.at_level(logging.WARNING):
            await server.drain(1)
        assert "do not let go" in caplog.text
        letting_go.set()
        await event(gate.released)


@pytest.mark.parametrize(
    ("address", "reached_at"),
    [
        (":0", ["127.0.0.1", "::1"]),
        ("[::]:0", ["127.0.0.1", "::1"]),
        ("127.0.0.1:0", ["127.0.0.1"]),
        ("0.0.0.0:0", ["127.0.0.1"]),
        ("[::1]:0", ["::1"]),
        ("localhost:0", ["127.0.0.1"]),
    ],
)
async def test_addresses_to_listen_on(address: str, reached_at: list[str]) -> None:
    clients: list[str] = []

    def who(request: Request) -> Response:
        clients.append(request.client)
        return ok()

    async with serving(who, address=address) as (server, _):
        for host in reached_at:
            async with await Client.connect(server.port, host) as client:
                await client.get("/")
    assert clients == reached_at


async def test_without_ipv6_all_addresses_are_those_of_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoIPv6(socket.socket):
        def __init__(self, family: int = -1, *args: int, **kwargs: int) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(family, *args, **kwargs)

    monkeypatch.setattr(sockets.socket, "socket", NoIPv6)
    async with serving(echo, address=":0") as (server, _), await Client.connect(server.port) as client:
        assert (await client.get("/x")).body == b"/x"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "5000",
        "localhost",
        "localhost:",
        ":http",
        ":-1",
        ":65536",
        ":\u0665",
        "::1:5000",
        "[::1]",
        "[::1:5000",
        "no.such.host.invalid:1",
    ],
)
async def test_addresses_that_cannot_be_listened_on(address: str) -> None:
    with pytest.raises(ListenError, match="listen on"):
        async with serving(echo, address=address):
            pass


async def test_an_address_in_use_is_named() -> None:
    async with serving(echo) as (server, _):
        address = f"127.0.0.1:{server.port}"
        with pytest.raises(ListenError, match=f"cannot listen on {address}: Address already in use"):
            async with serving(echo, address=address):
                pass


async def test_a_port_is_free_again_at_once() -> None:
    async with serving(echo) as (server, _):
        port = server.port
        async with await Client.connect(port) as client:
            await client.get("/")
            await server.drain(0)
    async with serving(echo, address=f"127.0.0.1:{port}"), await Client.connect(port) as client:
        assert (await client.get("/x")).body == b"/x"
