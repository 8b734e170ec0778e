"""Two machines, joined by a cable; processes on them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_LIMIT = 30.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Machine:
    """A network namespace with one address for each program that uses the same ports as another one."""

    namespace: str
    addresses: tuple[str, ...]

    def command(self, *command: str | Path) -> list[str]:
        """Return a command that runs there."""
        return ["ip", "netns", "exec", self.namespace, *map(str, command)]

    def client(self, *arguments: str) -> dict[str, float]:
        """Run a client there; return its figures."""
        command = self.command(sys.executable, "-m", "benchmarks.nodes.client", *arguments)
        result = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, timeout=600)
        if result.returncode:
            raise RuntimeError(f"{' '.join(arguments)}: {result.stderr[-2000:]}")
        figures: dict[str, float] = json.loads(result.stdout)
        return figures


@contextlib.contextmanager
def two_machines() -> Iterator[tuple[Machine, Machine]]:
    """Make them, and take them away."""
    name = f"spegel-bench-{os.getpid()}"
    near = Machine(f"{name}-near", tuple(f"10.78.0.{number}" for number in (11, 12)))
    far = Machine(f"{name}-far", tuple(f"10.78.0.{number}" for number in (21, 22)))
    made = []
    try:
        for machine in (near, far):
            _ip("netns", "add", machine.namespace)
            made.append(machine)
            _ip("-n", machine.namespace, "link", "set", "lo", "up")
        peer = ("peer", "name", "eth0", "netns", far.namespace)
        _ip("-n", near.namespace, "link", "add", "eth0", "type", "veth", *peer)
        for machine in (near, far):
            for address in machine.addresses:
                _ip("-n", machine.namespace, "addr", "add", f"{address}/24", "dev", "eth0")
            _ip("-n", machine.namespace, "link", "set", "eth0", "up")
        yield near, far
    finally:
        for machine in made:
            _ip("netns", "del", machine.namespace)


@contextlib.contextmanager
def cable(sender: Machine, rate: str) -> Iterator[None]:
    """Let a machine send no faster than a rate, as ``tc`` writes it."""
    place = ("dev", "eth0", "root")
    _tc(sender, "add", *place, "tbf", "rate", rate, "burst", "64k", "latency", "20ms")
    try:
        yield
    finally:
        _tc(sender, "del", *place)


def _tc(machine: Machine, *arguments: str) -> None:
    subprocess.run(["tc", "-n", machine.namespace, "qdisc", *arguments], check=True, timeout=_LIMIT)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=_LIMIT)


class Running:
    """A process and its children."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        environment = {
            key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"
        } | {"PYTHONPATH": str(ROOT)}
        self._command = command
        self._log = log
        with log.open("ab") as stream:
            self._process = subprocess.Popen(command, stdout=stream, stderr=stream, env=environment)

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(_LIMIT)

    def check(self) -> None:
        """Raise RuntimeError when it has ended."""
        if self._process.poll() is not None:
            text = self._log.read_text()[-3000:]
            raise RuntimeError(f"{' '.join(self._command)} has ended:\n{text}")

    def cpu(self) -> float:
        """Return the processor seconds that it has taken so far."""
        return sum(_cpu(pid) for pid in self._pids())

    def memory(self, field: str = "VmRSS") -> float:
        """Return its resident memory in MB, now (VmRSS) or at most so far (VmHWM)."""
        return sum(_memory(pid, field) for pid in self._pids())

    def _pids(self) -> list[int]:
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _memory(pid: int, field: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field)) / 1000


@contextlib.contextmanager
def running(command: Sequence[str], log: Path) -> Iterator[Running]:
    """Run a process."""
    process = Running(command, log)
    try:
        yield process
    finally:
        process.stop()


def wait_for(machine: Machine, process: Running, address: str, path: str, method: str = "GET") -> None:
    """Wait until a server answers a path with 200."""
    deadline = time.monotonic() + _LIMIT
    url = f"http://{address}{path}"
    curl = ("curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}")
    head = ("--head",) if method == "HEAD" else ()
    while True:
        command = machine.command(*curl, *head, url)
        status = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_LIMIT).stdout
        if status == "200":
            return
        process.check()
        if time.monotonic() > deadline:
            raise RuntimeError(f"{method} {url} is answered with {status}")
        time.sleep(0.02)
