"""When a peer is too slow."""

from __future__ import annotations

from daemon.mirror.pace import FLOOR, WINDOW, Pace


def waits(pace: Pace, seconds: float, received: int) -> bool:
    pace.waited(seconds)
    if received:
        pace.received(received)
    return pace.judge()


def test_no_judgement_before_the_window_has_passed() -> None:
    pace = Pace()
    assert not waits(pace, WINDOW - 0.1, 0)
    assert pace.patience() < 0.2
    assert waits(pace, 0.1, 0)


def test_a_peer_that_sends_nothing_is_too_slow() -> None:
    assert waits(Pace(), WINDOW, 0)


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


def test_silence_is_counted_over_all_windows() -> None:
    pace = Pace()
    for _ in range(4):
        waits(pace, WINDOW, 0)
    assert pace.silent == 4 * WINDOW
    pace.received(1)
    assert pace.silent == 0
