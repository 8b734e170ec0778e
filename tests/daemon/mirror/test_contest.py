"""What becomes of answers that nobody needs, and of failures that are nobody's fault."""

from __future__ import annotations

import asyncio

import pytest

from daemon.mirror.contest import Arena, NoAnswerError
from daemon.mirror.fault import Fault, PeerError
from daemon.routing.base import Peer
from tests.daemon.mirror.peers import KnownPeers
from tests.virtual_time import now, virtual_time

PEERS = [Peer(f"peer-{number}", (), 1) for number in range(1, 4)]


class Answer:
    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.closed = False

    def close(self) -> None:
        self.closed = True


@virtual_time
async def test_of_two_answers_at_once_one_wins_and_the_other_is_closed() -> None:
    both = asyncio.Event()
    answers: list[Answer] = []

    async def ask(peer: Peer) -> Answer:
        if peer is PEERS[1]:
            both.set()
        await both.wait()
        answers.append(Answer(peer))
        return answers[-1]

    won = await Arena(KnownPeers(PEERS[:2]), 0.02, 3).contest("key", ask)
    assert len(answers) == 2
    assert [answer.closed for answer in answers] == [answer is not won.answer for answer in answers]
    assert won.tried == 2


@virtual_time
async def test_an_answer_that_comes_as_the_client_leaves_is_closed() -> None:
    answers: list[Answer] = []

    async def ask(peer: Peer) -> Answer:
        answers.append(Answer(peer))
        contest.cancel()
        return answers[-1]

    contest = asyncio.ensure_future(Arena(KnownPeers(PEERS), 0.02, 3).contest("key", ask))
    with pytest.raises(asyncio.CancelledError):
        await contest
    assert [answer.closed for answer in answers] == [True]


@virtual_time
async def test_peers_that_are_not_to_be_asked_are_not() -> None:
    asked: list[str] = []

    async def ask(peer: Peer) -> Answer:
        asked.append(peer.id)
        return Answer(peer)

    await Arena(KnownPeers(PEERS), 0.02, 3).contest("key", ask, {"peer-1", "peer-3"})
    assert asked == ["peer-2"]


@virtual_time
async def test_nobody_else_is_looked_for_while_the_first_peer_has_its_head_start() -> None:
    router = KnownPeers(PEERS[:1], endless=True)

    async def ask(peer: Peer) -> Answer:
        await asyncio.sleep(0.049)
        assert router.pulled == 1
        return Answer(peer)

    await Arena(router, 0.02, 3).contest("key", ask)
    assert router.abandoned == 1


@virtual_time
async def test_where_all_answer_late_the_head_start_is_longer() -> None:
    """Else a cluster with too much to do would give itself still more."""
    router = KnownPeers(PEERS[:1], endless=True)
    arena = Arena(router, 0.02, 3)
    for _ in range(20):
        arena.latency.answered(0.1)

    async def ask(peer: Peer) -> Answer:
        await asyncio.sleep(0.099)
        assert router.pulled == 1
        return Answer(peer)

    await arena.contest("key", ask)


@pytest.mark.parametrize("fails", [True, False], ids=["fails", "is slow"])
@virtual_time
async def test_more_are_looked_for_when_the_first_peer_does_not_answer_at_once(fails: bool) -> None:
    started: list[float] = []

    async def ask(peer: Peer) -> Answer:
        started.append(now())
        if len(started) == 1:
            if fails:
                raise PeerError(Fault.MISSING, "it is gone")
            await asyncio.sleep(1)
        return Answer(peer)

    won = await Arena(KnownPeers(PEERS), 0.02, 3).contest("key", ask)
    assert won.answer.peer is PEERS[1]
    assert started[1] == (0 if fails else 0.05), "as soon as the race lets it"


@virtual_time
async def test_a_search_that_never_ends_is_left_when_the_time_is_up() -> None:
    for resolve_timeout in (0.0, 0.02):
        router = KnownPeers([], endless=True)
        started = now()
        with pytest.raises(NoAnswerError):
            await Arena(router, resolve_timeout, 3).contest("key", ask_nobody)
        assert now() - started == pytest.approx(resolve_timeout)
        assert router.abandoned == 1


async def ask_nobody(peer: Peer) -> Answer:
    raise AssertionError


@virtual_time
async def test_what_breaks_while_a_peer_is_asked_is_not_hidden() -> None:
    with pytest.raises(AssertionError):
        await Arena(KnownPeers(PEERS, endless=True), 0.02, 3).contest("key", ask_nobody)


@virtual_time
async def test_a_suspect_gets_no_head_start() -> None:
    arena = Arena(KnownPeers(PEERS[:2]), 0.02, 3)
    arena.blame("peer-1", "key", Fault.UNREACHABLE)

    async def ask(peer: Peer) -> Answer:
        return Answer(peer)

    won = await arena.contest("key", ask)
    assert (won.answer.peer, now()) == (PEERS[1], 0)


@virtual_time
async def test_peers_that_have_enough_to_do_are_asked_first_the_next_time() -> None:
    arena = Arena(KnownPeers(PEERS[:1]), 0.02, 3)

    async def busy(peer: Peer) -> Answer:
        raise PeerError(Fault.BUSY, "busy")

    with pytest.raises(NoAnswerError):
        await arena.contest("key", busy)
    assert arena.reputation.points("peer-1", "key", now()) == 0


@virtual_time
async def test_a_peer_that_was_outrun_is_not_suspect_but_remembered_as_slow() -> None:
    arena = Arena(KnownPeers(PEERS[:2]), 0.02, 3)

    async def ask(peer: Peer) -> Answer:
        await asyncio.sleep(1 if peer is PEERS[0] else 0.01)
        return Answer(peer)

    for _ in range(10):
        await arena.contest("key", ask)
    assert arena.reputation.points("peer-1", "key", now()) == 0
    assert arena.latency.quantile(0.5) is not None
    assert arena.latency.quantile(0.5) > 0.01  # type: ignore[operator]
