"""Which clients are waited for."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest

from daemon.http.sink import SocketSink
from tests.virtual_time import now, virtual_time

STALL = 30.0


@contextlib.contextmanager
def joined() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection with small buffers."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        with server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1024 * 1024)
            server.setblocking(False)
            yield server, client


@virtual_time
async def test_a_client_that_takes_nothing_is_given_up() -> None:
    with joined() as (server, _):
        sink = SocketSink(server, STALL)
        sending = asyncio.create_task(sink.send(bytes(8 * 1024 * 1024)))
        await asyncio.sleep(STALL - 1)
        sink.expire(now())
        await asyncio.sleep(0)
        assert not sending.done()
        for _ in range(2):  # what is under way at first is taken by the kernel
            await asyncio.sleep(STALL + 1)
            sink.expire(now())
        with pytest.raises(TimeoutError, match="takes nothing"):
            await sending


@virtual_time
async def test_a_client_that_takes_little_is_waited_for() -> None:
    with joined() as (server, client):
        sink = SocketSink(server, STALL)
        sending = asyncio.create_task(sink.send(bytes(8 * 1024 * 1024)))
        for _ in range(5):  # far from what makes the socket writable
            await asyncio.sleep(STALL - 1)
            client.recv(96 * 1024, socket.MSG_WAITALL)
            await asyncio.sleep(2)
            sink.expire(now())
            await asyncio.sleep(0)
            assert not sending.done()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
