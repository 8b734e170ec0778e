"""The parts of the product, each a process of its own; one that ends before its time ends the demo."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from demo.errors import DemoError

_STOP_SECONDS = 5.0
_START_SECONDS = 30.0
_AFTERMATH = 0.5
"""Seconds until the end of a process is certainly known to whom it hurts."""
_LOOK_SECONDS = 0.02
_TAIL = 15
"""Lines of a log that are shown."""
_Found = TypeVar("_Found")

_KEPT = frozenset({"HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "VIRTUAL_ENV"})


@dataclass(frozen=True, slots=True)
class Process:
    """A process that runs."""

    name: str
    log: Path
    child: asyncio.subprocess.Process

    async def until(self, probe: Callable[[], Awaitable[_Found | None]]) -> _Found:
        """Ask again and again until there is an answer; that the process ends is for others to notice.

        Raises:
            DemoError: there is none in time.
        """
        try:
            async with asyncio.timeout(_START_SECONDS):
                while (found := await probe()) is None:
                    await asyncio.sleep(_LOOK_SECONDS)
                return found
        except TimeoutError:
            raise DemoError(f"{self.name} is not ready after {_START_SECONDS:g} s. {self._tail()}") from None

    def failure(self) -> DemoError:
        """Say how it ended, with the end of its log."""
        code = self.child.returncode
        how = f"by signal {-code}" if code is not None and code < 0 else f"with status {code}"
        return DemoError(f"{self.name} ended {how}. {self._tail()}")

    def _tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-_TAIL:]
        return "\n  ".join(["The end of its log:", *lines]) if lines else "It has logged nothing."


class Processes:
    """Runs processes while entered, and ends them all together.

    When one of them ends by itself, the task that has entered is cancelled, and leaving raises DemoError.
    """

    def __init__(self, logs: Path) -> None:
        """Prepare; each process gets a log file in this directory."""
        self._logs = logs
        self._running: dict[Process, asyncio.Task[None]] = {}
        self._failure: DemoError | None = None

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._owner = task
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running and isinstance(error, Exception):
            # Perhaps it is because a process ends, which says more; then this task is cancelled.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait(
                    self._running.values(), timeout=_AFTERMATH, return_when=asyncio.FIRST_COMPLETED
                )
        stopping = asyncio.create_task(self._stop())
        while not stopping.done():
            with contextlib.suppress(asyncio.CancelledError):  # another reason to end; it changes nothing
                await asyncio.shield(stopping)
        if self._failure is not None:
            self._owner.uncancel()
            raise self._failure from None

    async def start(self, name: str, command: Sequence[str]) -> Process:
        """Start a process. Of our own environment it sees as little as a container or a unit would."""
        kept = {key: value for key, value in os.environ.items() if key in _KEPT or key.startswith("PYTHON")}
        log = self._logs / f"{name.replace(' ', '-')}.log"
        with log.open("wb") as output:
            child = await asyncio.create_subprocess_exec(
                *command,
                env=kept,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # A Ctrl-C goes to all of a terminal's foreground group; it is the demo that ends its parts.
                process_group=0,
            )
        process = Process(name, log, child)
        self._running[process] = asyncio.create_task(self._watch(process))
        return process

    async def _stop(self) -> None:
        for watch in self._running.values():
            watch.cancel()
        await asyncio.gather(*(_end(process.child) for process in self._running))

    async def _watch(self, process: Process) -> None:
        await process.child.wait()
        if self._failure is None:
            self._failure = process.failure()
            self._owner.cancel()


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        child.terminate()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_STOP_SECONDS):
            await child.wait()
    with contextlib.suppress(ProcessLookupError):  # nobody is left: gunicorn's workers may have stayed
        os.killpg(child.pid, signal.SIGKILL)
    await child.wait()
