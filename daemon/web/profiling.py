"""Looks into the running process: what every task and thread is waiting for, and where time goes."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any

_INTERVAL = 0.005


def stacks() -> str:
    """Return the stacks of all tasks of the running event loop and of all threads, innermost call last."""
    lines: list[str] = []
    for task in sorted(asyncio.all_tasks(), key=asyncio.Task.get_name):
        lines.append(f"task {task.get_name()}\n")
        lines += traceback.StackSummary.extract(_awaited(task.get_coro())).format()
        lines.append("\n")
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for identity, frame in sys._current_frames().items():
        lines.append(f"thread {names.get(identity, identity)}\n")
        lines += traceback.format_stack(frame)
        lines.append("\n")
    return "".join(lines)


def sample(seconds: float, interval: float = _INTERVAL) -> str:
    """Look at all other threads every ``interval`` seconds; blocks for ``seconds``.

    Returns:
        Folded stacks, as flame graph programs read them: ``outer;inner;innermost count`` a line.
    """
    me = threading.get_ident()
    counts: Counter[tuple[CodeType, ...]] = Counter()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for identity, frame in sys._current_frames().items():
            if identity != me:
                counts[_codes(frame)] += 1
        time.sleep(interval)
    return "".join(f"{';'.join(map(_name, codes))} {count}\n" for codes, count in counts.most_common())


def _awaited(coroutine: Any) -> Iterator[tuple[FrameType, int]]:
    """Yield the frames of a suspended coroutine and of all that it awaits."""
    while coroutine is not None:
        for kind, inner in (("cr", "cr_await"), ("gi", "gi_yieldfrom"), ("ag", "ag_await")):
            frame = getattr(coroutine, f"{kind}_frame", None)
            if frame is not None:
                yield frame, frame.f_lineno
                coroutine = getattr(coroutine, inner)
                break
        else:
            return


def _codes(frame: FrameType | None) -> tuple[CodeType, ...]:
    codes = []
    while frame is not None:
        codes.append(frame.f_code)
        frame = frame.f_back
    return tuple(reversed(codes))


def _name(code: CodeType) -> str:
    return f"{code.co_filename.rpartition('/')[2]}:{code.co_qualname}".replace(";", ",").replace(" ", "_")
