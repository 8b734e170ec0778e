"""What a rush of requests leaves behind in a daemon's memory: Python gives little of it back."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest

from tests.daemon.cli.program import LIMIT, Program, free_port, running
from tests.daemon.containerd import Containerd

MB = 10**6
AT_ONCE = 800
"""With 1,024 open files, which a test may have."""
ROUNDS = 3
GROWTH = 13 * MB
"""What it may grow by: it was 8 MB, and 18 MB when all asked containerd at once."""


def rss(program: Program) -> int:
    status = Path(f"/proc/{program.process.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def ask(port: int, number: int, count: int) -> None:
    """Ask for tags that nobody has, each on a connection of its own, all at once."""
    with contextlib.ExitStack() as connections:
        clients = [
            connections.enter_context(socket.create_connection(("127.0.0.1", port), LIMIT))
            for _ in range(count)
        ]
        for place, client in enumerate(clients):
            path = f"/v2/library/app/manifests/{number}-{place}?ns=docker.io"
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        for client in clients:
            assert client.recv(12) == b"HTTP/1.1 404"


@pytest.mark.root
def test_many_misses_at_once_leave_little_behind(containerd: Containerd) -> None:
    registry, metrics = free_port(), free_port()
    addresses = f"--registry-addr=127.0.0.1:{registry}", f"--metrics-addr=127.0.0.1:{metrics}"
    store = f"--containerd-sock={containerd.socket}", f"--containerd-content-path={containerd.content}"
    with running("registry", "--bootstrap-kind=static", *addresses, *store) as daemon:
        daemon.wait_for_log("listening")
        ask(registry, 0, 10)  # so that what is only made once is there
        before = rss(daemon)
        for number in range(1, 1 + ROUNDS):
            ask(registry, number, AT_ONCE)
        assert rss(daemon) - before < GROWTH
