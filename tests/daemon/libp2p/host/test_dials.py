"""Dials: shared, bounded in number, not repeated at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import cast

import pytest

from daemon.libp2p.host.connection import Connection
from daemon.libp2p.host.dials import Dials
from daemon.libp2p.host.errors import DialError
from daemon.libp2p.identity import PeerId
from daemon.libp2p.peer_info import PeerInfo
from tests.virtual_time import virtual_time


def peer(number: int) -> PeerInfo:
    return PeerInfo(PeerId(b"\x12\x20" + number.to_bytes(32)), ())


class Met:
    """Stands for a connection."""

    def __init__(self, info: PeerInfo) -> None:
        self.peer_id = info.id


class Blackholes:
    """A network in which only the peers that are ``there`` answer; others are waited for in vain."""

    def __init__(self, limit: int, *there: int) -> None:
        self.there = {peer(number).id for number in there}
        self.tried: list[PeerId] = []
        self.trying = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self.dials = Dials(self._dial, limit, self._spawn)

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def _dial(self, info: PeerInfo) -> Connection:
        self.tried.append(info.id)
        self.trying += 1
        try:
            await asyncio.sleep(0.005 if info.id in self.there else 5)
        finally:
            self.trying -= 1
        if info.id not in self.there:
            raise DialError("no answer within 5 s")
        return cast(Connection, Met(info))


@virtual_time
async def test_of_too_many_dials_the_oldest_is_given_up_and_who_waits_for_it_told() -> None:
    network = Blackholes(3)
    waiting = [asyncio.create_task(network.dials.share(peer(number))) for number in range(5)]
    await asyncio.sleep(0.001)
    assert [task.done() for task in waiting] == [True, True, False, False, False]
    with pytest.raises(DialError, match="too many others"):
        await waiting[0]
    assert network.trying == len(network.dials) == 3
    await asyncio.gather(*waiting, return_exceptions=True)
    assert not len(network.dials)
    assert not network.tasks


@virtual_time
async def test_who_answers_is_reached_among_any_number_of_peers_that_do_not() -> None:
    network = Blackholes(256, 500)
    made_up = [asyncio.create_task(network.dials.share(peer(number))) for number in range(500)]
    there = asyncio.create_task(network.dials.share(peer(500)))
    later = [asyncio.create_task(network.dials.share(peer(number))) for number in range(501, 700)]
    async with asyncio.timeout(0.02):
        assert (await there).peer_id == peer(500).id
    assert network.trying <= 256
    await asyncio.gather(*made_up, *later, return_exceptions=True)


@virtual_time
async def test_who_was_given_up_can_be_dialled_again_at_once() -> None:
    network = Blackholes(1, 1)
    first = asyncio.create_task(network.dials.share(peer(1)))
    await asyncio.sleep(0)
    second = asyncio.create_task(network.dials.share(peer(2)))
    await asyncio.sleep(0)
    assert (await network.dials.share(peer(1))).peer_id == peer(1).id
    await asyncio.gather(first, second, return_exceptions=True)
    assert network.tried[-1] == peer(1).id


@virtual_time
async def test_all_who_want_a_peer_share_one_dial() -> None:
    network = Blackholes(4, 1)
    connections = await asyncio.gather(*(network.dials.share(peer(1)) for _ in range(10)))
    assert len(set(connections)) == 1
    assert network.tried == [peer(1).id]


@virtual_time
async def test_who_came_by_itself_and_left_again_is_dialled_anew_whatever_an_old_dial_comes_to() -> None:
    network = Blackholes(4)
    waiting = asyncio.create_task(network.dials.share(peer(1)))
    await asyncio.sleep(1)
    came = cast(Connection, Met(peer(1)))
    network.dials.met(came)
    assert await waiting is came
    network.there.add(peer(1).id)  # where the next dial leads
    assert len(network.dials) == 1, "the old dial still counts"
    assert await network.dials.share(peer(1)) is not came
    network.there.clear()
    await asyncio.gather(*network.tasks)  # the old dial fails
    network.there.add(peer(1).id)
    assert (await network.dials.share(peer(1))).peer_id == peer(1).id, "it is not held against the peer"


async def test_nothing_is_dialled_once_the_host_is_closed() -> None:
    def closed(work: Coroutine[None, None, None]) -> None:
        work.close()

    dials = Dials(Blackholes(1)._dial, 1, closed)
    with pytest.raises(DialError, match="the host is closed"):
        await dials.share(peer(1))
    assert not len(dials)
