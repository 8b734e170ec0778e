"""When a peer is too slow."""

from __future__ import annotations

import pytest

from daemon.mirror.pace import FLOOR, SILENCE, STILLNESS, WINDOW, Pace


def waits(pace: Pace, seconds: float, received: int) -> bool:
    pace.waited(seconds)
    if received:
        pace.received(received)
    return pace.judge()


def test_no_judgement_before_the_window_has_passed() -> None:
    pace = Pace()
    assert not any(waits(pace, 1, 1) for _ in range(4))
    assert pace.patience() == WINDOW - 4
    assert waits(pace, 1, 1)


def test_a_peer_just_below_the_floor_is_too_slow() -> None:
    pace = Pace()
    verdicts = [waits(pace, 1, FLOOR - 1) for _ in range(5)]
    assert verdicts == [False, False, False, False, True]


def test_a_peer_at_the_floor_is_not() -> None:
    pace = Pace()
    assert not any(waits(pace, 1, FLOOR) for _ in range(50))


def test_time_that_is_not_spent_waiting_does_not_count() -> None:
    """The client may take minutes to store what it got; nothing is recorded meanwhile."""
    pace = Pace()
    for _ in range(1000):
        pace.received(1)
        assert not pace.judge()


def test_every_window_is_judged_on_its_own() -> None:
    pace = Pace()
    assert not waits(pace, WINDOW, 10**9)
    assert waits(pace, WINDOW, 10)


@pytest.mark.parametrize("seconds", [0, 1, 4.9])
def test_however_much_came_before_silence_is_noticed(seconds: float) -> None:
    pace = Pace()
    waits(pace, seconds, 10**9)
    verdicts = []
    while pace.silent < SILENCE:
        patience = pace.patience()
        assert patience > 0
        pace.waited(patience)
        if pace.judge():
            verdicts.append(pace.silent)
    assert verdicts == pytest.approx([STILLNESS, SILENCE])


def test_silence_ends_with_a_byte() -> None:
    pace = Pace()
    assert waits(pace, STILLNESS, 0)
    pace.waited(SILENCE - STILLNESS - 0.1)
    pace.received(1)
    assert (pace.silent, pace.patience()) == (0, pytest.approx(WINDOW - (SILENCE - STILLNESS - 0.1)))
    assert not waits(pace, 1, 0)
