"""What the bootstrapper costs: a cluster of 10,000 nodes, a mass start, and handshakes of both kinds.

``python -m benchmarks bootstrapper [--quick] [--write]`` prints the tables; ``--write`` puts them into
docs/benchmarks.md, with the machine and the day. Clients and server share the machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import http.client
import os
import re
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cryptography.x509.oid import ExtendedKeyUsageOID

from benchmarks.report import machine, markdown_table, write_section
from benchmarks.simulated.nodes import api_server
from controller.certificates.authority import new_authority, new_certificate

NODES = 10_000
RATE = 200
CLIENTS = 1000
_THREADS = 16
_PATIENCE = 120.0
"""Seconds for a mass start."""
_START_PATIENCE = 60.0
"""Seconds until a bootstrapper has started and read all nodes."""
_ALLOCATION = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "131072"}  # as in the container image
_LISTENING = re.compile(r"Listening at: https://127\.0\.0\.1:(\d+) http://127\.0\.0\.1:(\d+)")
_REQUEST = b"GET /bootstrap-nodes HTTP/1.1\r\nHost: localhost\r\nConnection: %s\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Server:
    """A bootstrapper that is ready."""

    port: int
    master: int
    """Of gunicorn's processes the one that answers nothing."""
    context: ssl.SSLContext
    """For its clients."""

    def workers(self) -> list[int]:
        """Return the processes that answer."""
        children = Path(f"/proc/{self.master}/task/{self.master}/children").read_text()
        return [int(child) for child in children.split()]

    def memory(self) -> float:
        """Return the resident memory of the largest process, in MB."""
        return max(_resident(process) for process in [self.master, *self.workers()])

    def computed(self) -> float:
        """Return the processor time that has been used so far, in seconds."""
        ticks = 0
        for process in self.workers():
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


def _resident(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1000


@contextlib.contextmanager
def running(kubeconfig: Path, directory: Path, workers: int) -> Iterator[Server]:
    """Run the bootstrapper on loopback while entered, with certificates made for it."""
    now = datetime.datetime.now(datetime.UTC)
    authority = new_authority("benchmark", now)
    server = new_certificate(authority, "server", ExtendedKeyUsageOID.SERVER_AUTH, ["localhost"], now)
    client = new_certificate(authority, "client", ExtendedKeyUsageOID.CLIENT_AUTH, [], now)
    files = {
        "ca.crt": authority.certificate_pem,
        "tls.crt": server.certificate_pem,
        "tls.key": server.key_pem,
        "client.crt": client.certificate_pem,
        "client.key": client.key_pem,
    }
    for name, data in files.items():
        (directory / name).write_bytes(data)
    context = ssl.create_default_context(cafile=str(directory / "ca.crt"))
    context.load_cert_chain(directory / "client.crt", directory / "client.key")
    log = directory / "log"
    command = [
        sys.executable, "-m", "bootstrapper", "serve", "--address=127.0.0.1", "--port=0", "--probe-port=0",
        f"--tls-certificate={directory / 'tls.crt'}", f"--tls-key={directory / 'tls.key'}",
        f"--client-authorities={directory / 'ca.crt'}", f"--kubeconfig={kubeconfig}", f"--workers={workers}",
        "--rate=1000000", "--burst=1000000",
    ]  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=os.environ | _ALLOCATION, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + _START_PATIENCE
        while not ((found := _LISTENING.search(log.read_text())) and _is_ready(int(found[2]))):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the bootstrapper does not become ready: {log.read_text()}")
            time.sleep(0.1)
        yield Server(int(found[1]), process.pid, context)
    finally:
        process.terminate()
        process.wait()


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


class Client:
    """One thread's way of asking: on a kept connection, a resumed session, or with a full handshake."""

    def __init__(self, server: Server, kind: str) -> None:
        self._server = server
        self._kind = kind
        self._session: ssl.SSLSession | None = None
        self._kept: ssl.SSLSocket | None = None
        if kind != "full handshake":
            with contextlib.closing(self._connect()) as connection:
                _ask(connection, b"close")
                self._session = connection.session  # tickets come with the first answer

    def ask(self) -> None:
        """Ask once."""
        if self._kind == "kept connection":
            self._kept = self._kept or self._connect()
            _ask(self._kept, b"keep-alive")
            return
        with contextlib.closing(self._connect()) as connection:
            if self._session is not None and not connection.session_reused:
                raise RuntimeError("the session was not resumed")
            _ask(connection, b"close")

    def _connect(self) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self._server.port), 60)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._server.context.wrap_socket(plain, server_hostname="localhost", session=self._session)


def _ask(connection: ssl.SSLSocket, connection_header: bytes) -> None:
    connection.sendall(_REQUEST % connection_header)
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    body = answer.read()
    if answer.status != http.HTTPStatus.OK or body.count(b'"IP"') != 10:
        raise RuntimeError(f"the bootstrapper answered {answer.status}: {body[:100]!r}")


def at_rate(server: Server, kind: str, rate: float, seconds: float) -> tuple[list[float], float]:
    """Ask at a rate whether answers come or not; returns latencies in ms, and processor ms per request.

    A latency begins when the request was due, so a server that falls behind shows.
    """
    latencies: list[float] = []
    count = int(rate * seconds)
    clients = [Client(server, kind) for _ in range(_THREADS)]
    before = server.computed()
    start = time.perf_counter() + 0.1

    def work(client: Client, first: int) -> None:
        for number in range(first, count, _THREADS):
            due = start + number / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            client.ask()
            latencies.append((time.perf_counter() - due) * 1000)

    _together([partial(work, client, first) for first, client in enumerate(clients)])
    return latencies, (server.computed() - before) * 1000 / count


def flat_out(server: Server, kind: str, seconds: float) -> float:
    """Ask with four clients as often as possible; returns requests a second."""
    counts = [0] * 4
    clients = [Client(server, kind) for _ in counts]
    end = time.perf_counter() + seconds

    def work(number: int) -> None:
        while time.perf_counter() < end:
            clients[number].ask()
            counts[number] += 1

    _together([partial(work, number) for number in range(len(counts))])
    return sum(counts) / seconds


def _together(work: list[Callable[[], None]]) -> None:
    failures: list[BaseException] = []

    def guarded(one: Callable[[], None]) -> None:
        try:
            one()
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


async def mass_start(server: Server, clients: int) -> tuple[list[float], float]:
    """Let clients connect at once, each with a full handshake; returns latencies in ms, and seconds.

    Who is dropped, having been too slow for the server on a machine that has other work, asks again, as a
    node does; its latency counts from the start of all.
    """
    latencies: list[float] = []
    start = time.perf_counter()

    async def one() -> None:
        answer = b""
        while not answer:
            answer = await _first_answer(server)
        if b" 200 OK" not in answer[:20]:
            raise RuntimeError(f"the bootstrapper answered {answer[:100]!r}")
        latencies.append((time.perf_counter() - start) * 1000)

    async with asyncio.timeout(_PATIENCE):
        await asyncio.gather(*(one() for _ in range(clients)))
    return latencies, time.perf_counter() - start


async def _first_answer(server: Server) -> bytes:
    """Ask on a new connection; return the answer, empty when the server drops it."""
    try:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1",
            server.port,
            ssl=server.context,
            server_hostname="localhost",
            ssl_handshake_timeout=_PATIENCE,
        )
    except ConnectionError:
        return b""
    try:
        writer.write(_REQUEST % b"close")
        return await reader.read(1 << 16)
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


@contextlib.contextmanager
def idle(server: Server, count: int) -> Iterator[None]:
    """Keep connections open after their handshakes."""
    with contextlib.ExitStack() as connections:
        for _ in range(count):
            plain = socket.create_connection(("127.0.0.1", server.port), 60)
            connections.enter_context(server.context.wrap_socket(plain, server_hostname="localhost"))
        yield


def _quantile(values: list[float], percent: int) -> str:
    return f"{statistics.quantiles(values, n=100)[percent - 1]:.1f}"


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks bootstrapper", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="shorter runs")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    arguments = parser.parse_args()
    seconds = 3 if arguments.quick else 12
    rates: list[list[str]] = []
    starts: list[list[str]] = []
    memory: list[list[str]] = []
    by_rate = ["processes", "clients", "p50 ms", "p99 ms", "processor ms a request", "most a second"]
    with tempfile.TemporaryDirectory() as path, api_server(NODES, Path(path)) as kubeconfig:
        for workers in (1, 2):
            with running(kubeconfig, Path(path), workers) as server:
                memory.append([str(workers), "nodes read", f"{server.memory():.0f}"])
                kinds = ["kept connection", "resumed session", "full handshake"]
                for kind in kinds if workers == 1 else ["full handshake"]:
                    latencies, cost = at_rate(server, kind, RATE, seconds)
                    most = flat_out(server, kind, seconds / 4)
                    figures = _quantile(latencies, 50), _quantile(latencies, 99), f"{cost:.2f}", f"{most:.0f}"
                    rates.append([str(workers), kind, *figures])
                    print(" ".join(rates[-1]), file=sys.stderr, flush=True)
                latencies, duration = asyncio.run(mass_start(server, CLIENTS))
                spread = _quantile(latencies, 50), _quantile(latencies, 99), f"{CLIENTS / duration:.0f}"
                starts.append([str(workers), str(CLIENTS), *spread])
                memory.append([str(workers), "after a mass start", f"{server.memory():.0f}"])
                with idle(server, CLIENTS):
                    memory.append(
                        [str(workers), f"with {CLIENTS} idle connections", f"{server.memory():.0f}"]
                    )
    text = f"""\
{machine()}

{RATE} requests a second:

{markdown_table(by_rate, rates)}

Mass start, all clients at the same moment with full handshakes:

{markdown_table(["processes", "clients", "p50 ms", "p99 ms", "answers a second"], starts)}

Resident memory of the largest process with {NODES} nodes:

{markdown_table(["processes", "when", "MB"], memory)}"""
    if arguments.write:
        write_section("bootstrapper", text)
    else:
        print(text)
