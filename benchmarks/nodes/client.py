"""Clients that cost little; ``python -m benchmarks.nodes.client`` runs one and prints its figures as JSON."""

from __future__ import annotations

import argparse
import hashlib
import json
import selectors
import socket
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

_STEP = 2**20
_LIMIT = 60.0


@dataclass(frozen=True)
class Target:
    """What to ask whom for."""

    host: str
    port: int
    path: str
    method: str = "GET"

    def connect(self) -> socket.socket:
        """Return a connection."""
        sock = socket.create_connection((self.host, self.port), _LIMIT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def request(self) -> bytes:
        """Return the request's head."""
        return f"{self.method} {self.path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n\r\n".encode()


def _answer(sock: socket.socket, method: str) -> tuple[bytes, int, int]:
    """Read an answer's head, and leave the rest of its body; return head, length and what was read of it."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(4096)
        if not more:
            raise RuntimeError(f"the server closed the connection: {data!r}")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    length = int(lengths[0].partition(b":")[2]) if lengths and method != "HEAD" else 0
    return head, length, len(rest)


def download(target: Target) -> dict[str, float]:
    """Have a body thrown away in the kernel; return bytes and seconds, from the question to the last byte."""
    buffer = bytearray(_STEP)
    with target.connect() as sock:
        started = time.perf_counter()
        sock.sendall(target.request())
        head, length, received = _answer(sock, target.method)
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode("latin-1"))
        while received < length:
            count = sock.recv_into(buffer, min(_STEP, length - received), socket.MSG_TRUNC)
            if not count:
                raise RuntimeError(f"cut after {received} of {length} bytes")
            received += count
        return {"bytes": received, "seconds": time.perf_counter() - started}


@dataclass
class _Asker:
    """One connection that asks again and again; all answers are of one length."""

    sock: socket.socket
    request: bytes
    length: int
    left: int = 0
    asked: float = 0.0
    times: list[float] = field(default_factory=list)

    def ask(self) -> None:
        self.left, self.asked = self.length, time.perf_counter()
        self.sock.send(self.request)

    def read(self) -> None:
        self.left -= len(self.sock.recv(self.left))
        if self.left == 0:
            self.times.append(time.perf_counter() - self.asked)
            self.ask()


def requests(target: Target, connections: int, seconds: float) -> dict[str, float]:
    """Ask for the same over and over; return how many a second were answered, and within what time."""
    askers = []
    for _ in range(connections):
        sock = target.connect()
        sock.sendall(target.request())
        head, length, received = _answer(sock, target.method)
        while received < length:
            received += len(sock.recv(length - received))
        askers.append(_Asker(sock, target.request(), len(head) + 4 + length))
    with selectors.DefaultSelector() as selector:
        started = time.perf_counter()
        for asker in askers:
            selector.register(asker.sock, selectors.EVENT_READ, asker)
            asker.ask()
        while time.perf_counter() - started < seconds:
            for key, _ in selector.select():
                key.data.read()
        elapsed = time.perf_counter() - started
    for asker in askers:
        asker.sock.close()
    return _figures([one for asker in askers for one in asker.times], elapsed)


def misses(target: Target, count: int) -> dict[str, float]:
    """Ask one after another for content that nobody has; return how long the answers took."""
    times = []
    with target.connect() as sock:
        for path in _absent(target.path, count):
            started = time.perf_counter()
            sock.sendall(Target(target.host, target.port, path).request())
            head, length, received = _answer(sock, "GET")
            while received < length:
                received += len(sock.recv(length - received))
            times.append(time.perf_counter() - started)
            if not head.startswith(b"HTTP/1.1 404"):
                raise RuntimeError(head.decode("latin-1"))
    return _figures(times, sum(times))


def _absent(path: str, count: int) -> Iterator[str]:
    start = time.time_ns()
    for number in range(count):
        digest = hashlib.sha256(f"{start}/{number}".encode()).hexdigest()
        yield path.format(digest=f"sha256:{digest}")


def _figures(times: list[float], elapsed: float) -> dict[str, float]:
    percentiles = statistics.quantiles(times, n=100)
    return {
        "count": len(times),
        "rate": len(times) / elapsed,
        "p50": percentiles[49] * 1000,
        "p99": percentiles[98] * 1000,
    }


def main() -> None:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nodes.client")
    parser.add_argument("what", choices=["download", "requests", "misses"])
    parser.add_argument("address", help="host:port")
    parser.add_argument("path", help="for misses with {digest} in it")
    parser.add_argument("--method", default="GET")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--count", type=int, default=100)
    arguments = parser.parse_args()
    host, _, port = arguments.address.rpartition(":")
    target = Target(host, int(port), arguments.path, arguments.method)
    match arguments.what:
        case "download":
            figures = download(target)
        case "requests":
            figures = requests(target, arguments.connections, arguments.seconds)
        case _:
            figures = misses(target, arguments.count)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
