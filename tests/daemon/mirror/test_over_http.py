"""The mirror behind the daemon's own server: what a client sees on the wire."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable

import pytest

from daemon.http.message import Request, Response
from daemon.http.quiet import Quiet
from daemon.http.server import Server
from daemon.mirror.history import Outcome
from tests.daemon.mirror.peers import Honest, Scene, Script, blob, digest_of, pattern, scene

DATA = pattern(3_000_000)


Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextlib.asynccontextmanager
async def served(*scripts: Script) -> AsyncIterator[tuple[Scene, Wire]]:
    """A connection to a server that answers everything with the blob, from peers."""
    async with scene(*scripts) as stage:

        def handler(request: Request) -> Awaitable[Response]:
            return stage.mirror.fetch(blob(DATA))

        server = Server(handler, Quiet())
        server.listen("127.0.0.1:0")
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        yield stage, (reader, writer)
        writer.close()
        await server.drain(0)


async def get(wire: Wire) -> bytes:
    """Ask and return the body; raises IncompleteReadError or ConnectionError when it is cut."""
    reader, writer = wire
    writer.write(b"GET /blob HTTP/1.1\r\nHost: x\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert f"\r\ndocker-content-digest: {digest_of(DATA)}\r\n" in head.decode().lower()
    length = next(line for line in head.decode().split("\r\n") if line.lower().startswith("content-length"))
    return await reader.readexactly(int(length.split(":")[1]))


async def test_one_connection_serves_many_blobs() -> None:
    async with served(Honest(DATA)) as (_, wire):
        for _ in range(3):
            assert await get(wire) == DATA


async def test_a_client_does_not_notice_that_a_peer_dies() -> None:
    async with served(Honest(DATA, dies_after=1_000_000), Honest(DATA)) as (stage, wire):
        assert await get(wire) == DATA
        assert stage.nodes[1].ranges == [(1_000_000, len(DATA) - 1)]
        assert await get(wire) == DATA


async def test_a_client_notices_that_all_peers_died() -> None:
    async with served(Honest(DATA, dies_after=1_000_000)) as (_, wire):
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await get(wire)


async def test_a_client_that_leaves_lets_the_peer_go() -> None:
    async with served(Honest(DATA, stalls_after=1_000_000)) as (stage, (reader, writer)):
        writer.write(b"GET /blob HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readexactly(500_000)
        assert stage.nodes[0].open == 1
        writer.close()
        async with asyncio.timeout(5):
            await stage.nodes[0].let_go.wait()
        (record,) = stage.mirror.history
        assert record.outcome is Outcome.LEFT
