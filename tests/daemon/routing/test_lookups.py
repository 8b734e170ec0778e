"""Lookups that share what they find, on a clock that takes no time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from ipaddress import IPv4Address

from benchmarks.simulated.clock import virtual
from daemon.routing.base import Peer
from daemon.routing.lookups import FRESH, Lookups

KEY = "sha256:" + "ab" * 32


def peer(number: int) -> Peer:
    return Peer(f"peer-{number}", (IPv4Address(number),), 5000)


class Finder:
    """Finds one peer a second, up to as many as there are; some are known before that."""

    def __init__(self, there: int, known: int = 0) -> None:
        self.there = there
        self.known_before = known
        self.queries: list[tuple[str, int]] = []
        self.times: list[float] = []

    def known(self, key: str, count: int) -> list[Peer]:
        return [peer(number) for number in range(min(count, self.known_before))]

    def find(self, key: str, count: int, found: Callable[[Peer], None]) -> asyncio.Future[None]:
        return asyncio.ensure_future(self._find(key, count, found))

    async def _find(self, key: str, count: int, found: Callable[[Peer], None]) -> None:
        self.queries.append((key, count))
        for number in range(min(count, self.there)):
            await asyncio.sleep(1)
            found(peer(number))
        if count > self.there:
            await asyncio.sleep(1)


def lookups(finder: Finder) -> Lookups:
    return Lookups(finder.known, finder.find, finder.times.append)


async def collect(made: Lookups, count: int, key: str = KEY) -> list[Peer]:
    return [found async for found in made.look_up(key, count)]


async def first(made: Lookups) -> Peer:
    async with aclosing(made.look_up(KEY, 3)) as lookup:
        return await anext(lookup)


def now() -> float:
    return asyncio.get_running_loop().time()


@virtual
async def test_peers_come_as_they_are_found_and_no_more_than_wanted() -> None:
    made = lookups(Finder(5))
    times = [now() async for _ in made.look_up(KEY, 3)]
    assert times == [1, 2, 3]


@virtual
async def test_what_is_known_comes_at_once_and_nobody_is_asked_before_somebody_wants_more() -> None:
    finder = Finder(3, known=2)
    made = lookups(finder)
    async with aclosing(made.look_up(KEY, 3)) as lookup:
        assert [await anext(lookup), await anext(lookup)] == [peer(0), peer(1)]
        assert (now(), finder.queries) == (0, [])
        assert await anext(lookup) == peer(2)
        assert (now(), finder.queries) == (3, [(KEY, 3)])


@virtual
async def test_as_many_as_are_known_cost_no_query_at_all() -> None:
    finder = Finder(3, known=2)
    made = lookups(finder)
    assert await collect(made, 2) == [peer(0), peer(1)]
    assert finder.queries == []


@virtual
async def test_what_was_known_is_looked_at_anew_after_a_while() -> None:
    finder = Finder(3, known=1)
    made = lookups(finder)
    assert await first(made) == peer(0)
    finder.known_before = 0
    await asyncio.sleep(FRESH / 2 - 0.1)
    assert await first(made) == peer(0)
    assert finder.queries == []
    await asyncio.sleep(0.2)
    assert await first(made) == peer(0)
    assert finder.queries == [(KEY, 3)]


@virtual
async def test_the_time_to_the_first_peer_is_told_once_per_query() -> None:
    finder = Finder(3)
    made = lookups(finder)
    await asyncio.gather(collect(made, 3), collect(made, 3))
    assert finder.times == [1]
    finder.known_before = 1
    await collect(made, 1, "known")
    assert finder.times == [1, 0]
    finder.there = finder.known_before = 0
    assert await collect(made, 1, "nowhere") == []
    assert finder.times == [1, 0]


@virtual
async def test_all_who_want_the_same_share_one_query() -> None:
    finder = Finder(3)
    made = lookups(finder)
    results = await asyncio.gather(*(collect(made, 3) for _ in range(10)))
    assert results == [[peer(0), peer(1), peer(2)]] * 10
    assert finder.queries == [(KEY, 3)]


@virtual
async def test_keys_that_nobody_has_push_out_nothing_that_was_found() -> None:
    class OfOneKey(Finder):
        async def _find(self, key: str, count: int, found: Callable[[Peer], None]) -> None:
            self.queries.append((key, count))
            if key == KEY:
                found(peer(0))

    finder = OfOneKey(1)
    made = lookups(finder)
    assert await collect(made, 1) == [peer(0)]
    for number in range(1024):
        assert await collect(made, 1, f"nowhere {number}") == []
    assert await collect(made, 1) == [peer(0)]
    assert finder.queries.count((KEY, 1)) == 1


@virtual
async def test_who_comes_later_gets_what_was_found_before_as_well() -> None:
    finder = Finder(3)
    made = lookups(finder)
    first = asyncio.create_task(collect(made, 3))
    await asyncio.sleep(1.5)
    assert await collect(made, 3) == await first
    assert len(finder.queries) == 1


@virtual
async def test_the_first_callers_leaving_does_not_end_it_for_others() -> None:
    made = lookups(Finder(3))
    first, second = (asyncio.create_task(collect(made, 3)) for _ in range(2))
    await asyncio.sleep(1.5)
    first.cancel()
    assert len(await second) == 3


@virtual
async def test_a_query_that_everybody_left_serves_the_next() -> None:
    finder = Finder(3)
    made = lookups(finder)
    only = asyncio.create_task(collect(made, 3))
    await asyncio.sleep(0.1)
    only.cancel()
    await asyncio.sleep(5)
    started = now()
    assert len(await collect(made, 3)) == 3
    assert now() == started
    assert len(finder.queries) == 1


@virtual
async def test_what_was_found_stays_good_for_a_while() -> None:
    finder = Finder(3)
    made = lookups(finder)
    await collect(made, 3)
    await asyncio.sleep(FRESH - 0.1)
    assert len(await collect(made, 2)) == 2
    assert len(finder.queries) == 1
    await asyncio.sleep(0.2)
    await collect(made, 3)
    assert len(finder.queries) == 2


@virtual
async def test_fewer_than_wanted_stay_good_for_half_of_it() -> None:
    finder = Finder(1)
    made = lookups(finder)
    assert len(await collect(made, 3)) == 1
    await asyncio.sleep(FRESH / 2 - 0.1)
    assert len(await collect(made, 3)) == 1
    assert len(finder.queries) == 1
    await asyncio.sleep(0.2)
    await collect(made, 3)
    assert len(finder.queries) == 2


@virtual
async def test_that_nothing_was_found_is_not_remembered() -> None:
    finder = Finder(0)
    made = lookups(finder)
    assert await collect(made, 3) == []
    finder.there = 1
    assert await collect(made, 3) == [peer(0)]


@virtual
async def test_who_wants_more_looks_anew() -> None:
    finder = Finder(5)
    made = lookups(finder)
    first = asyncio.create_task(collect(made, 1))
    await asyncio.sleep(0)
    assert len(await collect(made, 4)) == 4
    assert finder.queries == [(KEY, 1), (KEY, 4)]
    assert len(await first) == 1


@virtual
async def test_keys_do_not_mix() -> None:
    finder = Finder(1)
    made = lookups(finder)
    await asyncio.gather(collect(made, 1, "a"), collect(made, 1, "b"))
    assert finder.queries == [("a", 1), ("b", 1)]


@virtual
async def test_only_so_many_queries_run_at_once_and_only_so_many_are_remembered() -> None:
    finder = Finder(1)
    made = lookups(finder)
    await asyncio.gather(*(collect(made, 1, str(number)) for number in range(3000)))
    assert now() >= 3000 / 64
    assert len(made._queries) <= 1024


@virtual
async def test_what_is_found_in_the_very_call_that_asks_is_seen_at_once() -> None:
    class AtOnce(Finder):
        def find(self, key: str, count: int, found: Callable[[Peer], None]) -> asyncio.Future[None]:
            found(peer(1))
            return super().find(key, count, found)

    made = lookups(AtOnce(1, known=1))
    async with aclosing(made.look_up(KEY, 3)) as lookup:
        assert [await anext(lookup), await anext(lookup)] == [peer(0), peer(1)]
        assert now() == 0


@virtual
async def test_nobody_is_asked_for_those_who_have_left_before_it_was_their_turn() -> None:
    finder = Finder(1)
    made = lookups(finder)
    impatient = [asyncio.create_task(collect(made, 1, f"absent {number}")) for number in range(5000)]
    await asyncio.sleep(0.5)
    for task in impatient:
        task.cancel()
    assert await collect(made, 1) == [peer(0)]
    assert now() == 2
    assert len(finder.queries) == 64 + 1


@virtual
async def test_who_comes_back_after_leaving_too_soon_is_asked_for() -> None:
    finder = Finder(1)
    made = lookups(finder)
    others = asyncio.gather(*(collect(made, 1, str(number)) for number in range(64)))
    impatient = asyncio.create_task(collect(made, 1))
    await asyncio.sleep(0.5)
    impatient.cancel()
    await asyncio.sleep(0.1)
    assert await collect(made, 1) == [peer(0)]
    assert len(await others) == 64


@virtual
async def test_lookups_that_everybody_left_make_room_when_others_wait() -> None:
    class Slow(Finder):
        async def _find(self, key: str, count: int, found: Callable[[Peer], None]) -> None:
            await asyncio.sleep(100 if key.startswith("absent") else 0)
            await super()._find(key, count, found)

    made = lookups(Slow(1))
    impatient = [asyncio.create_task(collect(made, 1, f"absent {number}")) for number in range(64)]
    await asyncio.sleep(0.5)
    for task in impatient:
        task.cancel()
    await asyncio.sleep(0.5)
    found = await asyncio.gather(*(collect(made, 1, str(number)) for number in range(10)))
    assert (found, now()) == ([[peer(0)]] * 10, 2), "not after those that nobody waits for"
