"""The cache in front of the API server: single flight, a short life, a bound, no memory of failures."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from webhook.context.cache import Cache


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Reader:
    """Answers with its call's number; waits for ``go`` when told to."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.started = threading.Event()
        self.go = threading.Event()
        self.go.set()
        self.error: BaseException | None = None

    def __call__(self, key: str) -> int:
        self.keys.append(key)
        number = len(self.keys)
        self.started.set()
        assert self.go.wait(30)
        if self.error:
            raise self.error
        return number


def waiting_on(cache: Cache[int], key: str) -> int:
    """How many callers wait for the flight that is under way."""
    flight = cache._flights.get(key)
    return len(flight._condition._waiters) if flight else 0  # a Future does not tell in public


def ask_together(cache: Cache[int], reader: Reader, callers: int) -> list[object]:
    """Let one caller start the read, the others join it, and only then let it end."""
    reader.go.clear()
    joined = threading.Barrier(callers)

    def ask() -> object:
        joined.wait(30)
        try:
            return cache.get("a")
        except (OSError, RuntimeError, SystemExit) as error:
            return error

    with ThreadPoolExecutor(callers) as pool:
        asked = [pool.submit(ask) for _ in range(callers)]
        assert reader.started.wait(30)
        while waiting_on(cache, "a") < callers - 1:
            time.sleep(0.001)
        reader.go.set()
        return [future.result() for future in asked]


def test_ten_callers_at_once_cost_one_read() -> None:
    reader = Reader()
    assert ask_together(Cache(reader, seconds=3, size=8), reader, 10) == [1] * 10
    assert reader.keys == ["a"]


def test_even_without_keeping_anything() -> None:
    reader = Reader()
    cache = Cache(reader, seconds=0, size=8)
    assert ask_together(cache, reader, 10) == [1] * 10
    assert cache.get("a") == 2


def test_a_value_is_kept_for_its_time_counted_from_the_start_of_the_read() -> None:
    clock, calls = Clock(), []

    def read(key: str) -> int:
        calls.append(key)
        clock.now += 2
        return len(calls)

    cache = Cache(read, seconds=3, size=8, clock=clock)
    assert cache.get("a") == 1
    clock.now = 102.9
    assert cache.get("a") == 1
    clock.now = 103
    assert cache.get("a") == 2


def test_keys_are_read_apart() -> None:
    reader = Reader()
    cache = Cache(reader, seconds=3, size=8)
    assert [cache.get("a"), cache.get("b"), cache.get("a")] == [1, 2, 1]


def test_a_failure_reaches_everyone_who_waited_and_is_not_kept() -> None:
    reader = Reader()
    cache = Cache(reader, seconds=3, size=8)
    reader.error = OSError("no route")
    assert ask_together(cache, reader, 10) == [reader.error] * 10
    reader.error = None
    assert cache.get("a") == 2


def test_a_leader_that_is_interrupted_releases_the_others() -> None:
    reader = Reader()
    cache = Cache(reader, seconds=3, size=8)
    reader.error = SystemExit(1)
    results = ask_together(cache, reader, 5)
    assert sorted(type(result).__name__ for result in results) == ["RuntimeError"] * 4 + ["SystemExit"]
    reader.error = None
    assert cache.get("a") == 2


def test_a_failure_forgets_the_value_that_had_expired() -> None:
    clock, reader = Clock(), Reader()
    cache = Cache(reader, seconds=3, size=8, clock=clock)
    cache.get("a")
    clock.now += 3
    reader.error = OSError("no route")
    with pytest.raises(OSError, match="no route"):
        cache.get("a")
    assert not cache._values


def test_the_least_recently_used_goes_first_when_full() -> None:
    reader = Reader()
    cache = Cache(reader, seconds=3, size=2)
    for key in "abac":
        cache.get(key)
    assert reader.keys == ["a", "b", "c"]
    cache.get("a")
    assert reader.keys == ["a", "b", "c"]
    cache.get("b")
    assert reader.keys == ["a", "b", "c", "b"]
