"""Which of a machine's addresses are announced, in network namespaces made for the question."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from daemon.libp2p.host.interfaces import is_announced

ROOT = Path(__file__).parents[4]
ASK = """
from daemon.libp2p.host.interfaces import announced_addresses
print(*announced_addresses(4), *announced_addresses(6))
"""


@contextlib.contextmanager
def namespace() -> Iterator[str]:
    if os.geteuid() or not shutil.which("ip"):
        reason = "needs root and Debian's package iproute2"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    name = f"interfaces{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def configure(name: str, *lines: str) -> None:
    subprocess.run(["ip", "-n", name, "-batch", "-"], input="\n".join(lines), text=True, check=True)


def announced(name: str) -> str:
    command = ["ip", "netns", "exec", name, sys.executable, "-c", ASK]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.root
def test_the_address_that_leads_to_the_world_is_announced_alone() -> None:
    with namespace() as name:
        configure(
            name,
            "link set lo up",
            "link add node type veth peer name node-end",
            "link add services type veth peer name services-end",
            "address add 10.250.0.7/16 dev node",
            "address add fd00:10::7/64 dev node nodad",
            "address add 100.64.0.1/32 dev services",
            "address add fd00:64::1/128 dev services nodad",
            "link set node up",
            "link set node-end up",
            "link set services up",
            "route add default via 10.250.0.1",
            "route add default via fd00:10::1",
        )
        assert announced(name) == "10.250.0.7 fd00:10::7"


@pytest.mark.root
def test_without_a_way_to_the_world_all_that_others_can_use_are() -> None:
    with namespace() as name:
        configure(
            name,
            "link set lo up",
            "link add node type veth peer name node-end",
            "address add 10.250.0.7/16 dev node",
            "address add 10.250.1.7/16 dev node",
            "address add 169.254.20.10/32 dev node",
            "address add fd00:10::7/64 dev node nodad",
            "link set node up",
            "link set node-end up",
        )
        assert announced(name) == "10.250.0.7 10.250.1.7 fd00:10::7"


@pytest.mark.root
def test_loopback_alone_is_nothing_to_announce() -> None:
    with namespace() as name:
        configure(name, "link set lo up")
        assert announced(name) == ""


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "0.0.0.0", "::", "169.254.20.10", "fe80::1", "224.0.0.1"]
)
def test_what_means_something_else_to_others_is_not_announced(address: str) -> None:
    assert not is_announced(ip_address(address))


@pytest.mark.parametrize("address", ["10.0.0.1", "192.168.1.1", "fd00::1", "2001:db8:1::1", "198.51.100.1"])
def test_what_others_can_use_is_announced(address: str) -> None:
    assert is_announced(ip_address(address))
