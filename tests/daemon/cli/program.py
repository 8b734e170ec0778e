"""Runs the program ``spegel`` as a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
_KEPT = {"PATH", "HOME", "LANG", "TMPDIR", "SPEGEL_UNPACK_DIR"}
LIMIT = 20.0
"""Seconds for whatever is waited for; only a broken program needs them."""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command that ends of itself."""
    return subprocess.run(
        command(*arguments),
        env=_environment(environment),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


@dataclass
class Program:
    """A running program and its log."""

    process: subprocess.Popen[str]
    started: float
    lines: list[str] = field(default_factory=list)
    _news: threading.Condition = field(default_factory=threading.Condition)

    def log(self) -> list[dict[str, Any]]:
        """Return the log so far."""
        return [json.loads(line) for line in self.lines]

    def wait_for_log(self, message: str) -> dict[str, Any]:
        """Return the first record whose message contains a text."""
        with self._news:
            deadline = time.monotonic() + LIMIT
            while True:
                for line in self.lines:
                    if message in line:
                        found: dict[str, Any] = json.loads(line)
                        return found
                if self.process.poll() is not None or not self._news.wait(deadline - time.monotonic()):
                    raise AssertionError(f"{message!r} is not in the log:\n{''.join(self.lines)}")

    def terminate(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(LIMIT)

    def read(self) -> None:
        """Collect the log until its end."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self.lines.append(line)
                self._news.notify_all()
        with self._news:
            self._news.notify_all()


@contextlib.contextmanager
def running(*arguments: str, **environment: str) -> Iterator[Program]:
    """Start the program; end it if the test has not."""
    with running_command(command(*arguments), **environment) as program:
        yield program


@contextlib.contextmanager
def running_command(command: Sequence[str], **environment: str) -> Iterator[Program]:
    """Start a program that logs as ours does; end it if the test has not."""
    started = time.monotonic()
    process = subprocess.Popen(command, env=_environment(environment), stderr=subprocess.PIPE, text=True)
    program = Program(process, started)
    reader = threading.Thread(target=program.read)
    reader.start()
    try:
        yield program
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(LIMIT)
        reader.join(LIMIT)
        assert process.stderr is not None
        process.stderr.close()


def free_port() -> int:
    """Return a port that is free on loopback now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def command(*arguments: str) -> list[str]:
    """Return a command line of the program: from the sources, or the one that SPEGEL_PROGRAM names."""
    named = os.environ.get("SPEGEL_PROGRAM")
    program = [named] if named else [sys.executable, "-m", "daemon"]
    return [*program, *arguments]


def _environment(more: dict[str, str]) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key in _KEPT}
    return {**kept, "PYTHONPATH": str(ROOT), "ROUTER_ADDR": "127.0.0.1:0", **more}
