"""When and how first peers are looked for, on a clock that takes no time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from benchmarks.simulated.clock import virtual
from daemon.bootstrap.base import AloneError, Bootstrap, BootstrapError, Candidate
from daemon.libp2p.host.errors import DialError, SelfDialError
from daemon.libp2p.identity import PeerId
from daemon.libp2p.multiaddr import Multiaddr
from daemon.libp2p.peer_info import PeerInfo

ME = PeerId(b"\x12\x20" + bytes(32))
OTHER = PeerId(b"\x12\x20" + bytes(31) + b"\x01")
PORT = 5001


def addresses(*texts: str) -> tuple[Multiaddr, ...]:
    return tuple(map(Multiaddr.parse, texts))


class World:
    """A source, a host and a router, of which the test decides everything."""

    peer_id = ME

    def __init__(self) -> None:
        self.candidates: Sequence[Candidate] = [Candidate(OTHER, addresses("/ip4/10.0.0.2/tcp/5001"))]
        self.failure: Exception | None = None
        self.asked_at: list[float] = []
        self.dialled: list[tuple[PeerId | None, tuple[Multiaddr, ...]]] = []
        self.answer: Callable[[], None] = lambda: None
        self.connected = False
        self.delay = 0.0

    async def find(self) -> Sequence[Candidate]:
        self.asked_at.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.delay)
        if self.failure is not None:
            raise self.failure
        return self.candidates

    def addresses(self) -> Sequence[Multiaddr]:
        return addresses("/ip4/10.0.0.1/tcp/5001", "/ip6/fd00::1/tcp/5001")

    async def connect(self, peer: PeerInfo) -> None:
        self.dialled.append((peer.id, peer.addresses))
        self.answer()

    async def connect_to_unknown(self, targets: Sequence[Multiaddr]) -> PeerId:
        self.dialled.append((None, tuple(targets)))
        self.answer()
        return OTHER

    def join(self) -> None:
        self.connected = True

    def refuse(self) -> None:
        raise DialError("connection refused")

    def bootstrap(self) -> Bootstrap:
        return Bootstrap(self, self, PORT, lambda: self.connected)


@contextlib.asynccontextmanager
async def running(world: World) -> AsyncIterator[None]:
    task = asyncio.create_task(world.bootstrap().run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@virtual
async def test_pauses_between_attempts_double_up_to_ten_seconds() -> None:
    world = World()
    world.failure = BootstrapError("nobody there")
    async with running(world):
        await asyncio.sleep(60)
    pauses = [
        round(later - sooner, 3) for sooner, later in zip(world.asked_at, world.asked_at[1:], strict=False)
    ]
    assert pauses[:9] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10]
    assert set(pauses[9:]) == {10}


@virtual
async def test_once_there_are_peers_it_looks_again_after_half_an_hour() -> None:
    world = World()
    world.answer = world.join
    async with running(world):
        await asyncio.sleep(3599)
    assert len(world.asked_at) == 2
    assert 1800 <= world.asked_at[1] <= 1802


@virtual
async def test_when_all_are_lost_it_looks_at_once() -> None:
    world = World()
    world.answer = world.join
    async with running(world):
        await asyncio.sleep(100)
        world.connected = False
        await asyncio.sleep(1.1)
    assert len(world.asked_at) == 2


@virtual
async def test_connections_that_lead_to_no_connectivity_are_not_the_end() -> None:
    world = World()
    async with running(world):
        await asyncio.sleep(1)
        assert len(world.asked_at) > 3
        world.connected = True
        count = len(world.asked_at)
        await asyncio.sleep(100)
        assert len(world.asked_at) == count


@virtual
async def test_peers_that_come_by_themselves_are_not_the_end_while_no_candidate_is_reached() -> None:
    world = World()
    world.answer = world.refuse
    world.connected = True
    async with running(world):
        await asyncio.sleep(60)
        assert world.asked_at == [0, 1, 3, 7, 15, 31]
        world.answer = lambda: None
        await asyncio.sleep(1000)
        assert world.asked_at[6:] == [63]


@virtual
async def test_one_candidate_is_not_enough_while_others_are_not_reached() -> None:
    world = World()
    late = addresses("/ip4/10.0.0.3/tcp/5001")
    world.candidates = [*world.candidates, Candidate(None, late)]

    def answer() -> None:
        if world.dialled[-1] == (None, late):
            world.refuse()
        world.join()

    world.answer = answer
    async with running(world):
        await asyncio.sleep(60)
        assert [round(time) for time in world.asked_at] == [0, 1, 3, 7, 15, 31]
        world.answer = world.join
        await asyncio.sleep(1000)
        assert [round(time) for time in world.asked_at[6:]] == [63]


@virtual
async def test_a_candidate_that_is_gone_for_good_is_tried_ever_less_often(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    world.answer = world.refuse
    world.connected = True
    async with running(world):
        await asyncio.sleep(24 * 3600)
    assert len(world.asked_at) < 70
    assert "no peers yet" not in caplog.text, "there are some"


@virtual
async def test_the_first_node_looks_for_others_until_they_come() -> None:
    world = World()
    world.candidates = []
    async with running(world):
        await asyncio.sleep(60)
        assert len(world.asked_at) > 10
        world.connected = True
        await asyncio.sleep(10)
        count = len(world.asked_at)
        await asyncio.sleep(1000)
        assert len(world.asked_at) == count


@virtual
async def test_a_failing_look_again_does_no_harm() -> None:
    world = World()
    world.answer = world.join
    async with running(world):
        await asyncio.sleep(1)
        world.failure = BootstrapError("the bootstrapper is being replaced")
        await asyncio.sleep(3700)
        assert len(world.asked_at) == 3


@virtual
async def test_a_source_that_never_answers_is_given_up() -> None:
    world = World()
    world.delay = 1e6
    with pytest.raises(BootstrapError, match="longer than 30 s"):
        await world.bootstrap().attempt()


async def test_addresses_without_a_port_get_this_nodes_own() -> None:
    world = World()
    world.candidates = [Candidate(None, addresses("/ip4/10.0.0.2", "/ip6/fd00::2", "/ip4/10.0.0.2/tcp/7"))]
    await world.bootstrap().attempt()
    expected = addresses("/ip4/10.0.0.2/tcp/5001", "/ip6/fd00::2/tcp/5001", "/ip4/10.0.0.2/tcp/7")
    assert world.dialled == [(None, expected)]


async def test_a_zone_is_no_port() -> None:
    world = World()
    world.candidates = [Candidate(None, addresses("/ip6zone/eth0/ip6/fe80::2"))]
    await world.bootstrap().attempt()
    assert world.dialled == [(None, addresses("/ip6zone/eth0/ip6/fe80::2/tcp/5001"))]


async def test_the_id_may_stand_in_the_address() -> None:
    world = World()
    world.candidates = [Candidate(None, addresses(f"/ip4/10.0.0.2/tcp/5001/p2p/{OTHER}"))]
    await world.bootstrap().attempt()
    assert world.dialled == [(OTHER, addresses("/ip4/10.0.0.2/tcp/5001"))]


@pytest.mark.parametrize(
    "candidate",
    [
        Candidate(ME, addresses("/ip4/10.0.0.9/tcp/5001")),
        Candidate(None, addresses(f"/ip4/10.0.0.9/tcp/5001/p2p/{ME}")),
        Candidate(None, addresses("/ip4/10.0.0.1")),
        Candidate(None, addresses("/ip4/10.0.0.7", "/ip6/fd00::1")),
        Candidate(OTHER, addresses("/ip4/10.0.0.1/tcp/5001")),
    ],
)
async def test_this_node_itself_is_not_dialled(candidate: Candidate) -> None:
    world = World()
    world.candidates = [candidate]
    with pytest.raises(AloneError):
        await world.bootstrap().attempt()
    assert world.dialled == []


async def test_this_node_behind_an_address_that_it_does_not_know() -> None:
    world = World()

    def meet_oneself() -> None:
        raise SelfDialError

    world.answer = meet_oneself
    with pytest.raises(AloneError):
        await world.bootstrap().attempt()


async def test_one_that_answers_is_enough() -> None:
    world = World()
    dead = Candidate(None, addresses("/ip4/10.0.0.3"))
    world.candidates = [dead, *world.candidates]

    def answer() -> None:
        if world.dialled[-1][0] is None:
            world.refuse()

    world.answer = answer
    await world.bootstrap().attempt()
    assert len(world.dialled) == 2


async def test_when_nobody_answers_all_reasons_are_told() -> None:
    world = World()
    world.answer = world.refuse
    with pytest.raises(BootstrapError, match="connection refused"):
        await world.bootstrap().attempt()
