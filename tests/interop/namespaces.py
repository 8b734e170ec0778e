"""Machines of a cluster, as network namespaces on one bridge that leads nowhere else."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import pytest


@dataclass(frozen=True)
class Machine:
    """A namespace with one address."""

    namespace: str
    ip: IPv4Address | IPv6Address

    @property
    def host(self) -> str:
        """The address as it stands in URLs."""
        return f"[{self.ip}]" if self.ip.version == 6 else str(self.ip)

    def command(self, *command: str) -> list[str]:
        """Return a command that runs there."""
        return ["ip", "netns", "exec", self.namespace, *command]


def require_namespaces() -> None:
    """Skip the test where there can be none; fail instead when CI=true."""
    if os.geteuid() == 0 and shutil.which("ip"):
        return
    reason = "needs root and Debian's package iproute2"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@contextlib.contextmanager
def machines(count: int, version: int) -> Iterator[list[Machine]]:
    """Make machines with addresses of one IP version, and end them with all that is in them."""
    name = f"spegel{os.getpid()}"
    hub, prefix = f"{name}-hub", 24 if version == 4 else 64
    made: list[str] = []

    def add(namespace: str) -> None:
        _ip("netns", "add", namespace)
        made.append(namespace)
        _ip("-n", namespace, "link", "set", "lo", "up")

    try:
        add(hub)
        _ip("-n", hub, "link", "add", "bridge", "type", "bridge")
        _ip("-n", hub, "link", "set", "bridge", "up")
        result = []
        for number in range(1, count + 1):
            address = IPv4Address(f"10.77.0.{number}") if version == 4 else IPv6Address(f"fd77::{number}")
            machine = Machine(f"{name}-{number}", address)
            add(machine.namespace)
            port = f"port{number}"
            peer = ("peer", "name", "eth0", "netns", machine.namespace)
            _ip("-n", hub, "link", "add", port, "type", "veth", *peer)
            _ip("-n", hub, "link", "set", port, "master", "bridge", "up")
            nodad = ("nodad",) if version == 6 else ()
            _ip("-n", machine.namespace, "addr", "add", f"{address}/{prefix}", "dev", "eth0", *nodad)
            _ip("-n", machine.namespace, "link", "set", "eth0", "up")
            result.append(machine)
        yield result
    finally:
        for namespace in made:
            _ip("netns", "del", namespace)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=30)
