"""Work on objects: one at a time for each, several at a time in all, again later when it failed.

What is added while it is being worked on is worked on once more. Nothing is remembered of what succeeded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

_FIRST_DELAY_SECONDS = 1.0
_LONGEST_DELAY_SECONDS = 60.0
_log = logging.getLogger(__name__)


class Queue(Generic[Key]):
    """Keys that are due, now or later."""

    def __init__(
        self, work: Callable[[Key], Awaitable[float | None]], expected: tuple[type[Exception], ...]
    ) -> None:
        """Take the function that works on a key.

        Args:
            work: returns the seconds after which it wants to go on, or None when it is done. When it
                raises, it is called again, after a time that grows.
            expected: errors that are no mistakes of ours, and need no traceback.
        """
        self._work = work
        self._expected = expected
        self._due: dict[Key, float] = {}
        self._busy: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._changed = asyncio.Event()

    def add(self, key: Key, after: float = 0.0) -> None:
        """Have a key worked on, after some seconds or earlier when it is due earlier anyway."""
        due = asyncio.get_running_loop().time() + after
        self._due[key] = min(due, self._due.get(key, due))
        self._changed.set()

    def lengths(self) -> dict[str, int]:
        """Return how many keys are worked on, wait although they are due, and are due later."""
        now = asyncio.get_running_loop().time()
        waiting = sum(due <= now for due in self._due.values())
        return {"working": len(self._busy), "waiting": waiting, "later": len(self._due) - waiting}

    async def run(self, workers: int) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(workers):
                tasks.create_task(self._run_one())

    async def _run_one(self) -> None:
        while True:
            key = await self._next()
            self._busy.add(key)
            try:
                delay = await self._attempt(key)
            finally:
                self._busy.discard(key)
                self._changed.set()
            if delay is not None:
                self.add(key, delay)

    async def _attempt(self, key: Key) -> float | None:
        try:
            delay = await self._work(key)
        except Exception as error:  # noqa: BLE001 - a mistake of ours on one object must not stop the others
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
            delay = min(_FIRST_DELAY_SECONDS * 2.0**failures, _LONGEST_DELAY_SECONDS)
            log = _log.warning if isinstance(error, self._expected) else _log.exception
            log("%s: once more in %g s: %s", key, delay, error)
            return delay
        self._failures.pop(key, None)
        return delay

    async def _next(self) -> Key:
        """Wait for a key that is due and that nobody works on, and take it."""
        while True:
            now = asyncio.get_running_loop().time()
            waiting = [(due, key) for key, due in self._due.items() if key not in self._busy]
            due, key = min(waiting, key=lambda pair: pair[0], default=(None, None))
            if due is not None and key is not None and due <= now:
                del self._due[key]
                return key
            self._changed.clear()
            try:
                async with asyncio.timeout(None if due is None else due - now):
                    await self._changed.wait()
            except TimeoutError:
                pass
