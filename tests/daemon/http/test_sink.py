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


async def test_steps_are_taken_until_one_is_the_last() -> None:
    with joined() as (server, _):
        left = iter([None, True, None, True, False])

        def step() -> bool:
            more = next(left)
            if more is None:
                raise BlockingIOError
            return more

        await SocketSink(server, STALL).pump(step)
        assert not list(left)


async def test_what_a_step_raises_ends_the_steps() -> None:
    with joined() as (server, _):
        taken = []

        def step() -> bool:
            taken.append(True)
            raise ConnectionResetError("gone")

        sink = SocketSink(server, STALL)
        with pytest.raises(ConnectionResetError, match="gone"):
            await sink.pump(step)
        await asyncio.sleep(0)
        assert len(taken) == 1


async def test_no_step_is_taken_for_whoever_has_given_up() -> None:
    with joined() as (server, _):
        taken = []

        def step() -> bool:
            taken.append(True)
            return True

        pumping = asyncio.create_task(SocketSink(server, STALL).pump(step))
        while not taken:
            await asyncio.sleep(0)
        pumping.cancel()
        await asyncio.gather(pumping, return_exceptions=True)
        count = len(taken)
        await asyncio.sleep(0)
        assert len(taken) == count
