"""Processes that are watched: a log file each, waiting for what they do, an end by their id."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

LIMIT = 60.0
"""Seconds for whatever is waited for; only a broken program needs them."""

_PAUSE = 0.02

T = TypeVar("T")


def wait_until(look: Callable[[], T | None], what: str, limit: float = LIMIT) -> T:
    """Look again and again until there is something to be seen, and return it.

    Args:
        look: returns something true once it is there.
        what: is waited for, in words that finish "... is still waited for".
        limit: in seconds.
    """
    deadline = time.monotonic() + limit
    while not (found := look()):
        assert time.monotonic() < deadline, f"after {limit:.0f} s {what} is still waited for"
        time.sleep(_PAUSE)
    return found


def child_of(pid: int) -> int | None:
    """Return the first child of a process; None while, or as soon as, it has none."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children else None


class Process:
    """A running program.

    Args:
        command: what to run.
        log: the file that its output is added to.
        environment: all of it; None for this process's own.
        is_entered: the command enters a namespace of processes, and what counts is its child there.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        is_entered: bool = False,
    ) -> None:
        self.command = list(map(str, command))
        self.log = log
        with log.open("ab") as stream:
            self._start_of_log = stream.tell()
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=environment
            )
        self.pid = self._process.pid
        if is_entered:
            self.pid = wait_until(self._inner, f"the start of {self}")

    def __str__(self) -> str:
        return f"{self.log.stem} (process {self.pid})"

    def _inner(self) -> int | None:
        inner = child_of(self._process.pid)
        return self._process.pid if inner is None and not self.is_running() else inner

    def is_running(self) -> bool:
        """Tell whether it has not ended yet."""
        return self._process.poll() is None

    def output(self) -> str:
        """Return what it has written so far."""
        with self.log.open("rb") as stream:
            stream.seek(self._start_of_log)
            return stream.read().decode(errors="replace")

    def wait_for_line(self, pattern: str, limit: float = LIMIT) -> re.Match[str]:
        """Wait until its output matches a pattern; fail when it ends without."""

        def look() -> re.Match[str] | None:
            ended = not self.is_running()
            found = re.search(pattern, self.output(), re.MULTILINE)
            assert found or not ended, f"{self} has ended without {pattern!r}:\n{self.output()[-4000:]}"
            return found

        return wait_until(look, f"{pattern!r} in {self.log}", limit)

    def wait(self, limit: float = LIMIT) -> int:
        """Wait for its end; return the exit status, negative for a signal."""
        return self._process.wait(limit)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self.is_running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    @contextlib.contextmanager
    def end(self) -> Iterator[int]:
        """Open a descriptor that can be read from once it has ended."""
        # One that has ended already has no process any more; /dev/null can always be read from.
        running = self.is_running()
        descriptor = os.pidfd_open(self._process.pid) if running else os.open(os.devnull, os.O_RDONLY)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def stop(self, limit: float = LIMIT) -> int:
        """Ask it to end, and make it end when it does not; return the exit status."""
        self.signal(signal.SIGTERM)
        try:
            return self.wait(limit)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """End it at once."""
        self.signal(signal.SIGKILL)
        return self.wait()
