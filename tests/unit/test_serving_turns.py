"""Who may begin a handshake, and when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serving.turns import Turns


def test_those_for_whom_there_is_no_place_wait_in_their_order() -> None:
    turns: Turns[str] = Turns(2, 10)
    assert [turns.begin(client, 0) for client in "abcd"] == [True, True, False, False]
    assert turns
    assert turns.next(1) == []
    turns.end("a")
    assert turns.next(1) == ["c"]
    turns.end("b")
    assert not turns.begin("e", 2), "one that comes later does not overtake"
    assert turns.next(2) == ["d"]


def test_one_that_goes_while_it_waits_is_forgotten() -> None:
    turns: Turns[str] = Turns(1, 10)
    turns.begin("a", 0)
    turns.begin("b", 0)
    turns.begin("c", 0)
    turns.end("b")
    turns.end("a")
    assert turns.next(1) == ["c"]
    assert not turns


def test_one_that_does_nothing_loses_its_place_and_no_more() -> None:
    turns: Turns[str] = Turns(2, 10)
    for client in "abcd":
        turns.begin(client, 0)
    turns.progress("a", 5)
    assert turns.next(10) == ["c"], "b has done nothing"
    turns.progress("b", 11)
    turns.end("b")
    assert turns.next(12) == []
    assert turns.next(15) == ["d"]


@given(st.lists(st.tuples(st.sampled_from(["begin", "progress", "end"]), st.integers(0, 8)), max_size=60))
def test_nobody_is_lost_and_never_are_there_too_many(steps: list[tuple[str, int]]) -> None:
    turns: Turns[int] = Turns(3, 5)
    begun: set[int] = set()
    waiting: list[int] = []
    for now, (step, client) in enumerate(steps):
        if step == "begin" and client not in begun and client not in waiting:
            if turns.begin(client, now):
                begun.add(client)
            else:
                waiting.append(client)
        elif step == "progress":
            turns.progress(client, now)
        elif step == "end":
            turns.end(client)
            begun.discard(client)
            waiting = [each for each in waiting if each != client]
        named = turns.next(now)
        assert named == waiting[: len(named)]
        waiting = waiting[len(named) :]
        begun.update(named)
        assert bool(turns) is bool(waiting)
    # Those that have begun do nothing more, so all that wait come to be named, three at a time.
    now = len(steps)
    while waiting:
        now += 5
        named = turns.next(now)
        assert 1 <= len(named) <= 3
        assert named == waiting[: len(named)]
        waiting = waiting[len(named) :]
