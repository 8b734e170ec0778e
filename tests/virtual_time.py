"""An event loop whose clock jumps to the next timer as soon as nothing else can happen.

Sockets are real, so the loop gives the kernel a moment to deliver what is under way before it jumps.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

_DELIVERY = 0.01
"""Real seconds in which loopback has delivered everything."""
_DEADLOCK = 10.0
"""Real seconds after which a test that waits for nothing fails."""


class _Selector(selectors.EpollSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        ready = super().select(_DELIVERY if timeout is not None else _DEADLOCK)
        if not ready:
            assert timeout is not None, "everybody waits, and nothing will ever happen"
            self.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    def miss(self, seconds: float) -> None:
        """Move the clock on, without anything happening."""
        self._virtual.now += seconds


def virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on a clock that takes no time; it starts at 0."""

    @functools.wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


def stand_still(seconds: float) -> None:
    """Let this process miss some time, as one does that is frozen: what was due meanwhile is due at once."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop.miss(seconds)


def now() -> float:
    return asyncio.get_running_loop().time()
