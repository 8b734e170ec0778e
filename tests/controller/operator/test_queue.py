"""The queue, on a clock of its own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable

import pytest

from controller.operator.queue import Queue
from tests.virtual_time import virtual_time


class Work:
    """Notes when which key was worked on; what happens then is for a test to say."""

    def __init__(self, happens: Callable[[str, int], float | None]) -> None:
        self.done: list[tuple[float, str]] = []
        self.at_once = self.most_at_once = 0
        self._happens = happens

    async def __call__(self, key: str) -> float | None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.done.append((round(asyncio.get_running_loop().time(), 3), key))
        await asyncio.sleep(0.5)
        self.at_once -= 1
        return self._happens(key, sum(1 for _, each in self.done if each == key))

    @contextlib.asynccontextmanager
    async def under_way(self, workers: int = 2) -> AsyncIterator[Queue[str]]:
        queue = Queue[str](self, expected=(ValueError,))
        task = asyncio.create_task(queue.run(workers))
        yield queue
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def fail_until(attempt: int) -> Callable[[str, int], float | None]:
    def happens(_: str, times: int) -> float | None:
        if times < attempt:
            raise ValueError("not yet")
        return None

    return happens


@virtual_time
async def test_a_key_is_worked_on_by_one_at_a_time_and_once_more_when_asked_meanwhile() -> None:
    work = Work(lambda *_: None)
    async with work.under_way() as queue:
        queue.add("a")
        await asyncio.sleep(0.1)
        queue.add("a")
        queue.add("a")
        await asyncio.sleep(5)
    assert work.done == [(0.0, "a"), (0.5, "a")]
    assert work.most_at_once == 1


@virtual_time
async def test_several_keys_are_worked_on_at_once_but_no_more_than_there_are_workers() -> None:
    work = Work(lambda *_: None)
    async with work.under_way(workers=2) as queue:
        for key in "abc":
            queue.add(key)
        await asyncio.sleep(5)
    assert work.done == [(0.0, "a"), (0.0, "b"), (0.5, "c")]


@virtual_time
async def test_what_fails_is_tried_again_after_ever_longer_times() -> None:
    work = Work(fail_until(100))
    async with work.under_way() as queue:
        queue.add("a")
        await asyncio.sleep(300)
    times = [time for time, _ in work.done]
    pauses = [later - earlier - 0.5 for earlier, later in itertools.pairwise(times)]
    assert pauses[:7] == pytest.approx([1, 2, 4, 8, 16, 32, 60])
    assert max(pauses) == pytest.approx(60)


@virtual_time
async def test_who_asks_again_does_not_wait_for_the_next_try() -> None:
    work = Work(fail_until(2))
    async with work.under_way() as queue:
        queue.add("a")
        await asyncio.sleep(0.7)
        queue.add("a")
        await asyncio.sleep(10)
    assert work.done == [(0.0, "a"), (0.7, "a")]


@virtual_time
async def test_success_is_forgotten_and_so_are_the_failures_before_it() -> None:
    work = Work(lambda _, times: fail_until(2)("", times % 3))
    async with work.under_way() as queue:
        queue.add("a")
        await asyncio.sleep(10)
        queue.add("a")
        await asyncio.sleep(20)
    assert [time for time, _ in work.done] == pytest.approx([0, 1.5, 10, 11.5, 14], abs=0.01)


@virtual_time
async def test_work_that_wants_to_go_on_later_does() -> None:
    work = Work(lambda _, times: 3.0 if times < 3 else None)
    async with work.under_way() as queue:
        queue.add("a")
        await asyncio.sleep(30)
    assert [time for time, _ in work.done] == pytest.approx([0, 3.5, 7.0])


@virtual_time
async def test_a_mistake_with_one_key_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    def happens(key: str, times: int) -> float | None:
        return 1 / 0 if key == "a" else None

    work = Work(happens)
    async with work.under_way(workers=1) as queue:
        queue.add("a")
        queue.add("b")
        await asyncio.sleep(1.2)
    assert work.done == [(0.0, "a"), (0.5, "b")]
    (record,) = [record for record in caplog.records if record.exc_info]
    assert "division by zero" in record.getMessage()
