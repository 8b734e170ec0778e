"""Machines on a network of their own.

A machine is one process that holds namespaces for network, mounts, processes and host name. When that
process ends, the kernel ends all that runs there and takes interfaces and mounts away; it ends with the test
run, however that ends, because it reads from a pipe that nobody else holds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address
from pathlib import Path
from typing import TypeVar

import pytest

from tests import network_namespace
from tests.e2e.process import LIMIT, Process, child_of, wait_until

SUBNET = "10.79.0"
"""The first three numbers of all addresses."""

_LISTENS = "0A"
"""TCP_LISTEN in /proc/net/tcp."""
_INIT = 'hostname "$0" && ip link set lo up && echo up && while read -r _; do :; done'

T = TypeVar("T")


class _Namespaces:
    """A process that holds new namespaces until its standard input ends."""

    def __init__(self, name: str) -> None:
        kinds = ("--net", "--mount", "--pid", "--uts")
        self._process = subprocess.Popen(
            ["unshare", *kinds, "--fork", "--mount-proc", "--kill-child", "bash", "-c", _INIT, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"up\n", f"{name} does not start"
        pid = child_of(self._process.pid)
        assert pid is not None
        self.pid = pid

    def command(self, *command: str | Path) -> list[str]:
        kinds = ("--net", "--mount", "--pid", "--uts")
        return ["nsenter", f"--target={self.pid}", *kinds, *map(str, command)]

    def close(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=LIMIT)


class Machine:
    """A machine. Its files are this one's, but for what is mounted there."""

    def __init__(self, network: Network, name: str, addresses: tuple[str, ...]) -> None:
        self.name = name
        self.addresses = addresses
        self._network = network
        self._port: str | None = None
        self._processes: list[Process] = []
        self.boot()

    @property
    def pid(self) -> int:
        """Its process 1, as it is known here."""
        return self._namespaces.pid

    @property
    def address(self) -> str:
        """The first of its addresses."""
        return self.addresses[0]

    def command(self, *command: str | Path) -> list[str]:
        """Return a command that runs there, in the directory /."""
        return self._namespaces.command(*command)

    def start(
        self, command: Sequence[str | Path], log: Path, *, environment: Mapping[str, str] | None = None
    ) -> Process:
        """Start a program there; ``environment`` is all that it gets, or else this process's own."""
        process = Process(self.command(*command), log, environment=environment, is_entered=True)
        self._processes.append(process)
        return process

    def run(self, *command: str | Path, data: bytes | None = None, limit: float = LIMIT) -> str:
        """Run a program there to its end and return what it prints.

        Raises:
            CommandError: its exit status was not 0.
        """
        result = subprocess.run(
            self.command(*command), check=False, input=data, capture_output=True, timeout=limit
        )
        if result.returncode:
            raise CommandError(f"{' '.join(map(str, command))}: {result.stderr.decode().strip()}")
        return result.stdout.decode()

    def call(self, work: Callable[[], T]) -> T:
        """Call a function here whose sockets are that machine's."""
        with ThreadPoolExecutor(1, initializer=self._enter_network) as executor:
            return executor.submit(work).result()

    def listens(self, port: int) -> bool:
        """Tell whether something accepts TCP connections at a port."""
        return port in {
            int(local.rpartition(":")[2], 16)
            for table in ("tcp", "tcp6")
            for _, local, _, state, *_ in _rows(f"/proc/{self.pid}/net/{table}")
            if state == _LISTENS
        }

    def wait_for_port(self, port: int, process: Process) -> None:
        """Wait until something accepts TCP connections at a port; fail when its process ends before."""

        def look() -> bool:
            assert process.is_running(), f"{process} has ended:\n{process.output()[-4000:]}"
            return self.listens(port)

        wait_until(look, f"port {port} of {self.name}")

    def boot(self) -> None:
        """Start it again after its end, with the same addresses."""
        self._namespaces = _Namespaces(self.name)
        self._port = self._network.plug(self.pid, self.addresses)

    def unplug(self) -> None:
        """Take it from the network; nobody is told."""
        if self._port is not None:
            self._network.unplug(self._port)
            self._port = None

    def kill(self) -> None:
        """End it as a loss of power does: nobody hears of it, and nothing is written any more."""
        self.unplug()
        self._namespaces.close()
        for process in self._processes:
            process.wait()
        self._processes.clear()

    def _enter_network(self) -> None:
        network_namespace.enter(f"/proc/{self.pid}/ns/net")


class CommandError(Exception):
    """A command failed; the message is the command and what it wrote to stderr."""


class Network:
    """A bridge in a namespace of its own, with machines on it."""

    def __init__(self) -> None:
        self._hub = _Namespaces("network")
        self._count = 0
        self._machines: list[Machine] = []
        self._ip("link", "add", "bridge", "type", "bridge")
        self._ip("link", "set", "bridge", "up")

    def machine(self, name: str, *numbers: int) -> Machine:
        """Add a machine with addresses that end in these numbers."""
        machine = Machine(self, name, tuple(f"{SUBNET}.{number}" for number in numbers))
        self._machines.append(machine)
        return machine

    def plug(self, pid: int, addresses: tuple[str, ...]) -> str:
        """Give the namespace of a process an interface with addresses; return the port of the bridge."""
        self._count += 1
        port = f"port{self._count}"
        # One hardware address for an address, always: others find a machine that was restarted.
        hardware = "02:00:" + IPv4Address(addresses[0]).packed.hex(":")
        peer = ("peer", "name", "eth0", "address", hardware, "netns", str(pid))
        self._ip("link", "add", port, "type", "veth", *peer)
        self._ip("link", "set", port, "master", "bridge", "up")
        for address in addresses:
            _ip(pid, "addr", "add", f"{address}/24", "dev", "eth0")
        _ip(pid, "link", "set", "eth0", "up")
        return port

    def unplug(self, port: str) -> None:
        """Take an interface away."""
        self._ip("link", "del", port)

    def close(self) -> None:
        """End all machines."""
        for machine in self._machines:
            machine.kill()
        self._hub.close()

    def _ip(self, *arguments: str) -> None:
        _ip(self._hub.pid, *arguments)


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """Make a network; end it with all that is on it. Skip where there can be none, fail there if CI=true."""
    if os.geteuid() or not all(map(shutil.which, ("ip", "unshare", "nsenter"))):
        reason = "needs root and Debian's packages iproute2 and util-linux"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    made = Network()
    try:
        yield made
    finally:
        made.close()


def _rows(table: str) -> list[list[str]]:
    return [line.split() for line in Path(table).read_text().splitlines()[1:]]


def _ip(pid: int, *arguments: str) -> None:
    subprocess.run(["nsenter", f"--target={pid}", "--net", "ip", *arguments], check=True, timeout=LIMIT)
