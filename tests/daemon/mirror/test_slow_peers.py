"""Peers that are slow or fall silent: they are left for better ones, and kept or cut where there is none."""

from __future__ import annotations

import asyncio

import pytest

from daemon.mirror.pace import SILENCE, STILLNESS
from tests.daemon.mirror.peers import Honest, blob, pattern, pull, scene, take
from tests.virtual_time import now, stand_still, virtual_time

DATA = pattern(400_000)
SIZE = len(DATA)


@virtual_time
async def test_a_slow_peer_that_stalls_is_left_for_a_better_one() -> None:
    async with scene(Honest(DATA, stalls_after=1000), Honest(DATA)) as stage:
        _, taken = await pull(stage.mirror, blob(DATA))
        assert (taken.data, taken.cut) == (DATA, None)
        assert now() == pytest.approx(STILLNESS, abs=0.2)
        async with asyncio.timeout(1):
            await stage.nodes[0].let_go.wait()


@virtual_time
async def test_a_slow_peer_that_was_fast_and_then_stalls_is_left_as_soon() -> None:
    async with scene(Honest(DATA, rate=SIZE // 4, stalls_after=SIZE - 1000), Honest(DATA)) as stage:
        _, taken = await pull(stage.mirror, blob(DATA))
        assert (taken.data, taken.cut) == (DATA, None)
        assert 3 <= now() <= 4 + STILLNESS
        assert len(stage.nodes[1].asked) == 1


@virtual_time
async def test_a_slow_peer_that_trickles_is_left_for_a_better_one() -> None:
    async with scene(Honest(DATA, rate=10_000), Honest(DATA)) as stage:
        _, taken = await pull(stage.mirror, blob(DATA))
        assert (taken.data, taken.cut) == (DATA, None)
        assert 5 <= now() < 7
        assert len(stage.nodes[1].asked) == 1


@virtual_time
async def test_a_slow_peer_that_trickles_is_kept_when_there_is_no_other() -> None:
    data = DATA[:120_000]
    async with scene(Honest(data, rate=10_000)) as stage:
        _, taken = await pull(stage.mirror, blob(data))
        assert (taken.data, taken.cut) == (data, None)
        assert now() == pytest.approx(12, abs=2)


@virtual_time
async def test_a_slow_peer_that_sends_a_few_bytes_now_and_then_is_not_silent() -> None:
    data = pattern(200)
    async with scene(Honest(data, rate=10)) as stage:
        _, taken = await pull(stage.mirror, blob(data))
        assert (taken.data, taken.cut) == (data, None)
        assert now() > SILENCE


@virtual_time
async def test_a_slow_peer_has_its_few_bytes_passed_on_soon() -> None:
    async with scene(Honest(DATA, rate=1000)) as stage:
        _, taken = await pull(stage.mirror, blob(DATA), leave_after=4000)
        assert taken.data == DATA[:4000]
        assert now() == pytest.approx(3, abs=0.2)


@virtual_time
async def test_a_slow_peer_that_is_silent_for_good_is_cut_in_the_end() -> None:
    async with scene(Honest(DATA, stalls_after=1000)) as stage:
        _, taken = await pull(stage.mirror, blob(DATA))
        assert taken.data == DATA[:1000]
        assert taken.cut is not None
        assert now() == pytest.approx(SILENCE, abs=1)


@virtual_time
async def test_a_slow_peer_that_is_as_fast_as_the_network_is_kept() -> None:
    async with scene(Honest(DATA, rate=70_000), Honest(DATA)) as stage:
        await pull(stage.mirror, blob(DATA))
        assert stage.nodes[1].asked == []


@virtual_time
async def test_a_slow_peer_is_better_than_none_when_the_better_one_dies() -> None:
    async with scene(Honest(DATA, rate=10_000), Honest(DATA, dies_after=200_000)) as stage:
        _, taken = await pull(stage.mirror, blob(DATA))
        assert (taken.data, taken.cut) == (DATA, None)
        (record,) = stage.mirror.history
        assert record.peers == ("peer-1", "peer-2", "peer-1")


@virtual_time
async def test_a_slow_peer_is_not_what_a_peer_of_a_slow_client_is() -> None:
    data = pattern(8_000_000)
    async with scene(Honest(data), Honest(data)) as stage:
        response = await stage.mirror.fetch(blob(data))
        taken = await take(response.body, pause=60)
        assert (taken.data, taken.cut) == (data, None)
        assert now() >= 60
        assert stage.nodes[1].asked == []


@pytest.mark.parametrize("rate", [70_000, 100_000, 150_000])
@virtual_time
async def test_time_in_which_this_node_itself_stood_still_is_no_silence_of_its_peer(rate: int) -> None:
    async with scene(Honest(DATA, rate=rate), Honest(DATA)) as stage:
        pulling = asyncio.create_task(pull(stage.mirror, blob(DATA)))
        await asyncio.sleep(1)
        stand_still(2 * SILENCE)
        _, taken = await pulling
        assert (taken.data, taken.cut) == (DATA, None)
        assert stage.nodes[1].asked == []
