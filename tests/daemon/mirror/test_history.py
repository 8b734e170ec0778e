"""The record of the last requests."""

from __future__ import annotations

from daemon.mirror.history import History, Outcome, Record


def record(number: int) -> Record:
    return Record(
        time=number,
        method="GET",
        kind="blob",
        registry="docker.io",
        name="library/alpine",
        reference="sha256:00",
        outcome=Outcome.HIT,
        peers=("peer",),
        tried=1,
        bytes=1,
        seconds=0.1,
    )


def test_the_latest_comes_first() -> None:
    history = History()
    for number in range(3):
        history.add(record(number))
    assert [entry.time for entry in history] == [2, 1, 0]


def test_a_hundred_are_kept() -> None:
    history = History()
    for number in range(1000):
        history.add(record(number))
    assert len(history) == 100
    assert [entry.time for entry in history] == list(range(999, 899, -1))
