"""Asking one peer: connections are kept, bounded, and never trusted to be alive."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from daemon.mirror.client import Client
from daemon.mirror.fault import Fault, PeerError
from tests.daemon.mirror.peers import (
    MANIFEST,
    Asked,
    Honest,
    Node,
    blob,
    honest_manifest,
    manifest,
    resets,
    says,
    silent,
    tag,
)
from tests.virtual_time import virtual_time


@contextlib.asynccontextmanager
async def asking(script: object) -> AsyncIterator[tuple[Client, Node]]:
    node, client = Node("peer", script), Client(None)  # type: ignore[arg-type]
    server = await node.start()
    try:
        yield client, node
    finally:
        client.close()
        await node.stop()
        server.close()


async def read_manifest(client: Client, node: Node) -> bytes:
    answer = await client.ask(node.peer, manifest(MANIFEST))
    await answer.read_all()
    answer.close()
    return answer.rest


async def until_let_go(node: Node) -> None:
    async with asyncio.timeout(5):
        await node.let_go.wait()


@virtual_time
async def test_a_connection_is_used_again() -> None:
    async with asking(honest_manifest()) as (client, node):
        for _ in range(5):
            assert await read_manifest(client, node) == MANIFEST
        assert (len(node.asked), node.connections) == (5, 1)


@virtual_time
async def test_a_connection_with_an_unread_body_is_not_used_again() -> None:
    async with asking(honest_manifest()) as (client, node):
        for _ in range(2):
            (await client.ask(node.peer, manifest(MANIFEST))).close()
        await until_let_go(node)
        assert node.connections == 2


@virtual_time
async def test_a_connection_that_the_peer_closes_is_not_used_again() -> None:
    async with asking(honest_manifest(headers={"Connection": "close"})) as (client, node):
        for _ in range(2):
            await read_manifest(client, node)
        assert node.connections == 2


@virtual_time
async def test_an_idle_connection_that_was_closed_meanwhile_is_not_used() -> None:
    async with asking(honest_manifest(keep_alive=False)) as (client, node):
        await read_manifest(client, node)
        await until_let_go(node)
        assert await read_manifest(client, node) == MANIFEST
        assert node.connections == 2


@virtual_time
async def test_a_connection_that_ends_under_the_question_is_replaced_once() -> None:
    honest = honest_manifest()

    async def script(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        if len(node.asked) == 2:
            writer.transport.abort()
            return False
        return await honest(asked, writer)

    async with asking(script) as (client, node):
        await read_manifest(client, node)
        assert await read_manifest(client, node) == MANIFEST
        assert (len(node.asked), node.connections) == (3, 2)


@virtual_time
async def test_a_new_connection_that_ends_is_a_failure() -> None:
    async with asking(resets) as (client, node):
        with pytest.raises(PeerError) as raised:
            await client.ask(node.peer, tag())
        assert raised.value.fault is Fault.UNREACHABLE
        assert node.connections == 1


@virtual_time
async def test_a_broken_answer_on_an_old_connection_is_a_failure() -> None:
    honest = honest_manifest()

    async def script(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        return await (honest if len(node.asked) == 1 else says(b"HTTP/1.1 20"))(asked, writer)

    async with asking(script) as (client, node):
        await read_manifest(client, node)
        with pytest.raises(PeerError):
            await client.ask(node.peer, tag())
        assert node.connections == 1


@virtual_time
async def test_idle_connections_are_closed_after_some_seconds() -> None:
    async with asking(honest_manifest()) as (client, node):
        await read_manifest(client, node)
        await asyncio.sleep(6)
        await read_manifest(client, node)
        assert node.connections == 2


@virtual_time
async def test_few_idle_connections_are_kept() -> None:
    async with asking(honest_manifest()) as (client, node):
        answers = [await client.ask(node.peer, manifest(MANIFEST)) for _ in range(5)]
        for answer in answers:
            await answer.read_all()
            answer.close()
        await asyncio.sleep(0.01)
        assert (node.connections, node.open) == (5, 2)
        client.close()
        await until_let_go(node)


@virtual_time
async def test_a_peer_is_not_asked_too_much_at_once() -> None:
    async with asking(Honest(b"x" * 100, stalls_after=0)) as (client, node):
        answers = [await client.ask(node.peer, blob(b"x" * 100)) for _ in range(64)]
        with pytest.raises(PeerError) as raised:
            await client.ask(node.peer, blob(b"x" * 100))
        assert raised.value.fault is Fault.BUSY
        answers.pop().close()
        answers.append(await client.ask(node.peer, blob(b"x" * 100)))
        for answer in answers:
            answer.close()
        await until_let_go(node)


@virtual_time
async def test_a_failed_question_does_not_count_as_under_way() -> None:
    async with asking(resets) as (client, node):
        for _ in range(40):
            with pytest.raises(PeerError) as raised:
                await client.ask(node.peer, tag())
            assert raised.value.fault is Fault.UNREACHABLE


@virtual_time
async def test_giving_up_lets_the_peer_go_at_once() -> None:
    async with asking(silent) as (client, node):
        asking_it = asyncio.ensure_future(client.ask(node.peer, tag()))
        await asyncio.sleep(0.01)
        assert node.open == 1
        asking_it.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking_it
        await until_let_go(node)


@virtual_time
async def test_bodies_that_are_read_whole_are_bounded_together() -> None:
    large = honest_manifest(b"m" * (4 * 1024 * 1024), stalls_after=10)
    async with asking(large) as (client, node):
        answers = [await client.ask(node.peer, manifest(large.data)) for _ in range(9)]
        reading = [asyncio.ensure_future(answer.read_all()) for answer in answers[:8]]
        await asyncio.sleep(0.01)
        with pytest.raises(PeerError) as raised:
            await answers[8].read_all()
        assert raised.value.fault is Fault.BUSY
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
        for answer in answers:
            answer.close()


@virtual_time
async def test_more_than_was_said_is_a_lie() -> None:
    async with asking(honest_manifest(surplus=b"more")) as (client, node):
        answer = await client.ask(node.peer, manifest(MANIFEST))
        with pytest.raises(PeerError) as raised:
            await answer.read_all()
        assert raised.value.fault is Fault.LIED
        answer.close()
