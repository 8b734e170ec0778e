"""The webhook as it runs: ``python -m webhook serve`` with TLS, asked over the network."""

from __future__ import annotations

import http.client
import json
import os
import queue
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import jsonpatch
import pytest

from demo.apiserver import ApiServer, path_of
from demo.certificates import Authority
from tests.unit.admission_samples import (
    NAMESPACE,
    SAMPLES,
    UID,
    cluster,
    extension,
    osc,
    patch_of,
    request,
    review,
    secret,
)

ROOT = Path(__file__).parents[2]
MUTATE = "/webhooks/registry-spegel"
EXTENSION, CLUSTER, SECRET = (path_of(thing) for thing in (extension(), cluster(), secret()))
REVIEW = review(request())
JSON = {"Content-Type": "application/json"}
PATIENCE = 30.0
"""Seconds after which a test gives up; nothing that works takes that long."""


class Webhook:
    """The server as a process, with its certificate and its log; runs while entered."""

    def __init__(self, directory: Path, kubeconfig: Path) -> None:
        self.authority = Authority()
        self.certificate, self.key = directory / "tls.crt", directory / "tls.key"
        self.certificate.write_bytes(b"")
        self.renew()
        self._kubeconfig = kubeconfig
        self.settings: dict[str, object] = {}
        self.tls = True
        self.lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.log: list[str] = []

    def renew(self) -> bytes:
        """Write a new pair, one file after the other, and return the certificate."""
        certificate, key = self.authority.issue()
        self.certificate.write_bytes(certificate)
        self.key.write_bytes(key)
        return ssl.PEM_cert_to_DER_cert(certificate.decode())

    def start(self) -> subprocess.Popen[str]:
        settings = {"address": "127.0.0.1", "port": 0, "kubeconfig": self._kubeconfig} | self.settings
        if self.tls:
            settings |= {"tls_certificate": self.certificate, "tls_key": self.key}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WEBHOOK_")}
        environment |= {f"WEBHOOK_{name.upper()}": str(value) for name, value in settings.items()}
        command = [sys.executable, "-m", "webhook", "serve"]
        return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        self.process = self.start()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        try:
            message = self.wait_for("Listening at: ")["message"]
            self.port = int(message.partition("127.0.0.1:")[2].partition(" ")[0])
            assert self.get("/healthz") == (200, b"ok\n")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self._reader.join()
            assert self.process.stderr is not None
            self.process.stderr.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            self.lines.put(line)

    def wait_for(self, text: str) -> dict[str, Any]:
        """The next line of the log with a text in it."""
        while True:
            line = self.lines.get(timeout=PATIENCE)
            if text in line:
                parsed: dict[str, Any] = json.loads(line)
                return parsed

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.authority.pem.decode())

    def connect(self) -> http.client.HTTPConnection:
        if not self.tls:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        return http.client.HTTPSConnection("localhost", self.port, context=self.trust, timeout=PATIENCE)

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, bytes]:
        connection = self.connect()
        try:
            connection.request(method, path, body, JSON if body else {}, **options)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def get(self, path: str) -> tuple[int, bytes]:
        return self.ask("GET", path)

    def admit(self, body: Any = REVIEW) -> dict[str, Any]:
        status, answer = self.ask("POST", f"{MUTATE}?timeout=10s", body)
        assert status == 200, answer
        response: dict[str, Any] = json.loads(answer)["response"]
        assert response["uid"] == UID
        return response

    def raw(self) -> ssl.SSLSocket:
        """A connection after its handshake."""
        plain = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        return self.trust.wrap_socket(plain, server_hostname="localhost")


def is_closed(connection: socket.socket) -> bool:
    """Wait until the other side closes."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer(extension(), cluster(), secret()) as api:
        yield api


@pytest.fixture
def webhook(api: ApiServer, tmp_path: Path) -> Webhook:
    """Not yet started, so that a test can choose settings."""
    return Webhook(tmp_path, api.write_kubeconfig(tmp_path / "kubeconfig"))


def test_a_whole_admission(webhook: Webhook, api: ApiServer) -> None:
    body = (SAMPLES / "admissionreview-update.json").read_bytes()
    with webhook:
        status, answer = webhook.ask("POST", f"{MUTATE}?timeout=10s", body)
        assert status == 200
        patched = jsonpatch.apply_patch(json.loads(body)["request"]["object"], patch_of(answer))
        again = webhook.admit(review(request(patched)))
        line = webhook.wait_for("admission")
    assert again == {"uid": UID, "allowed": True}
    assert line["name"] == json.loads(body)["request"]["name"]
    assert (line["outcome"], line["operation"], line["namespace"]) == ("patched", "UPDATE", NAMESPACE)
    assert api.requests == {EXTENSION: 1, CLUSTER: 1, SECRET: 1}
    assert all(json.loads(line) for line in webhook.log)
    assert webhook.process.returncode == 0


def test_clients_must_trust_its_authority_and_speak_tls_1_2(webhook: Webhook) -> None:
    with webhook:
        with pytest.raises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(
                socket.create_connection(("127.0.0.1", webhook.port)), server_hostname="localhost"
            )
        with webhook.raw() as connection:
            assert connection.version() in ("TLSv1.2", "TLSv1.3")
        with socket.create_connection(("127.0.0.1", webhook.port), PATIENCE) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert is_closed(connection)
        assert webhook.admit()["allowed"]


def test_loopback_may_do_without_tls(webhook: Webhook) -> None:
    webhook.tls = False
    with webhook:
        assert webhook.admit()["allowed"]


def test_ten_admissions_at_once_cost_one_set_of_reads(webhook: Webhook, api: ApiServer) -> None:
    api.hanging.add(EXTENSION)
    with webhook, ThreadPoolExecutor(10) as pool:
        answers = [pool.submit(webhook.admit) for _ in range(10)]
        assert api.arrived.wait(PATIENCE)
        api.resume.set()
        assert all(answer.result()["patch"] for answer in answers)
        _, figures = webhook.get("/metrics")
    assert api.requests == {EXTENSION: 1, CLUSTER: 1, SECRET: 1}
    assert b'registry_spegel_webhook_context_reads_total{outcome="resolved"} 1.0\n' in figures


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (EXTENSION, f"Extension {NAMESPACE}/registry-spegel"),
        (CLUSTER, f"Cluster {NAMESPACE}"),
        (SECRET, f"Secret {NAMESPACE}/registry-spegel-bootstrap"),
    ],
)
def test_an_api_server_that_hangs_is_named_with_the_object(
    webhook: Webhook, api: ApiServer, path: str, name: str
) -> None:
    webhook.settings["api_timeout_seconds"] = 0.3
    api.hanging.add(path)
    with webhook:
        answer = webhook.admit()
        assert (answer["allowed"], answer["status"]["code"]) == (False, 500)
        assert answer["status"]["message"] == f"{name}: cannot be read: no answer within 0.3 s"
        api.hanging.clear()
        assert webhook.admit()["allowed"], "a failure is not kept"


def test_readiness_follows_the_api_server(webhook: Webhook, api: ApiServer) -> None:
    with webhook:
        assert webhook.get("/readyz") == (200, b"ok\n")
        api.statuses["/version"] = 503
        assert eventually(lambda: webhook.get("/readyz")[0] == 503)
        assert b"API server: cannot be read: status 503" in webhook.get("/readyz")[1]
        assert webhook.get("/healthz") == (200, b"ok\n")
        api.statuses.clear()
        assert eventually(lambda: webhook.get("/readyz") == (200, b"ok\n"))


def test_a_renewed_certificate_is_taken_without_dropping_a_request(webhook: Webhook) -> None:
    failures: list[object] = []
    stop = threading.Event()
    requests = [0, 0]

    def load(number: int, *, keep: bool) -> None:
        with ExitStack() as open_connections:
            connection = None
            while not stop.is_set():
                try:
                    if connection is None or not keep:
                        connection = webhook.connect()
                        open_connections.callback(connection.close)
                    connection.request("POST", MUTATE, REVIEW, JSON)
                    response = connection.getresponse()
                    if response.status != 200 or not patch_of(response.read()):
                        failures.append(response.status)
                    if not keep:
                        connection.close()
                    requests[number] += 1
                except (OSError, http.client.HTTPException) as error:
                    failures.append(error)

    with webhook:
        clients = [
            threading.Thread(target=load, args=(0,), kwargs={"keep": True}),
            threading.Thread(target=load, args=(1,), kwargs={"keep": False}),
        ]
        for client in clients:
            client.start()
        try:
            for _ in range(5):
                seen = list(requests)
                newest = webhook.renew()
                assert eventually(lambda seen=seen: all(map(int.__lt__, seen, requests)))
        finally:
            stop.set()
            for client in clients:
                client.join()
        with webhook.raw() as connection:
            assert connection.getpeercert(binary_form=True) == newest
    assert failures == []


def test_a_request_under_way_is_answered_after_the_order_to_stop(webhook: Webhook, api: ApiServer) -> None:
    api.hanging.add(EXTENSION)
    with webhook, ThreadPoolExecutor(1) as pool:
        figures = shared_figures(webhook.process.pid)
        assert figures.is_dir()
        answer = pool.submit(webhook.admit)
        assert api.arrived.wait(PATIENCE)
        webhook.process.send_signal(signal.SIGTERM)
        webhook.wait_for("Handling signal: term")
        api.resume.set()
        assert answer.result()["patch"]
        assert webhook.process.wait(PATIENCE) == 0
    assert not figures.exists()


def shared_figures(process: int) -> Path:
    """The directory whose files the workers of a server have mapped."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    maps = "".join(Path(f"/proc/{child}/maps").read_text() for child in children)
    return next(Path(line.split()[-1]).parent for line in maps.splitlines() if line.endswith(".db"))


def test_idle_clients_hold_up_nobody(webhook: Webhook) -> None:
    webhook.settings |= {"threads": 2, "client_timeout_seconds": 300, "shutdown_timeout_seconds": 1}
    half = b"POST /webhooks/registry-spegel HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
    with webhook, ExitStack() as connections:
        for number in range(100):
            idle = socket.create_connection(("127.0.0.1", webhook.port), PATIENCE)
            connections.enter_context(idle)
            if number % 2:
                idle.sendall(b"\x16\x03\x01\x02")  # the beginning of a handshake
        for number in range(20):
            slow = connections.enter_context(webhook.raw())
            slow.sendall(half if number % 2 else half + b"\r\n{")
        assert webhook.admit()["allowed"]
        assert webhook.get("/healthz") == (200, b"ok\n")


def test_clients_that_take_too_long_are_dropped(webhook: Webhook) -> None:
    webhook.settings["client_timeout_seconds"] = 0.5
    head = b"POST /webhooks/registry-spegel HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with webhook, ExitStack() as connections:
        silent = connections.enter_context(socket.create_connection(("127.0.0.1", webhook.port), PATIENCE))
        handshake = connections.enter_context(socket.create_connection(("127.0.0.1", webhook.port), PATIENCE))
        handshake.sendall(b"\x16\x03\x01\x02")
        half_head = connections.enter_context(webhook.raw())
        half_head.sendall(head)
        half_body = connections.enter_context(webhook.raw())
        half_body.sendall(head + b"Content-Length: 10\r\n\r\n{")
        half_chunk = connections.enter_context(webhook.raw())
        half_chunk.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{")
        for connection in (silent, handshake, half_head, half_body, half_chunk):
            assert is_closed(connection)
        asked = connections.enter_context(webhook.raw())
        asked.sendall(head + b"Expect: 100-continue\r\nContent-Length: 10\r\n\r\n")
        answer = http.client.HTTPResponse(asked)
        answer.begin()
        assert (answer.status, answer.read()) == (400, b"the body cannot be read to its end\n")
        assert webhook.admit()["allowed"]


def chunks(size: int, count: int) -> Iterator[bytes]:
    return (b" " * size for _ in range(count))


def test_bodies_of_any_framing_are_bounded(webhook: Webhook) -> None:
    webhook.settings["max_body_bytes"] = 100_000
    with webhook:
        assert webhook.ask("POST", MUTATE, b" " * 100_001) == (413, b"the body is larger than 100000 bytes\n")
        assert webhook.ask("POST", MUTATE, b" " * 3_000_000)[0] == 413
        assert webhook.ask("POST", MUTATE, chunks(1000, 101), encode_chunked=True)[0] == 413
        assert webhook.ask("POST", MUTATE, chunks(100_000, 30), encode_chunked=True)[0] == 413
        assert webhook.ask("POST", MUTATE, chunks(1000, 100), encode_chunked=True)[0] == 400
        assert webhook.admit(iter([REVIEW[:100], REVIEW[100:]]))["patch"]
        padded = review(request(osc(purpose="provision"))).ljust(100_000)
        assert webhook.admit(padded) == {"uid": UID, "allowed": True}


LIES = [
    (b"Content-Length: 1000", b"{", 400),
    (b"Content-Length: 5\r\nContent-Length: 6", b"{}", 400),
    (b"Content-Length: -1", b"{}", 400),
    (b"Content-Length: 99999999999999999999", b"{}", 413),
    (b"Transfer-Encoding: chunked", b"zz\r\n\r\n", 400),
    (b"Transfer-Encoding: chunked", b"5\r\n{}", 400),
    (b"Transfer-Encoding: chunked\r\nContent-Length: 2", b"{}", 400),
    (b"Transfer-Encoding: gzip", b"{}", 400),
    (b"X-Long: " + b"x" * 10_000, b"", 431),
    (b"X-Many: x\r\n" * 100, b"", 431),
]


def test_framing_that_lies_is_refused(webhook: Webhook) -> None:
    head = b"POST /webhooks/registry-spegel HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    webhook.tls = False  # so that the client can end its side alone
    with webhook:
        for framing, body, status in LIES:
            with socket.create_connection(("127.0.0.1", webhook.port), PATIENCE) as connection:
                connection.sendall(head + framing + b"\r\n\r\n" + body)
                connection.shutdown(socket.SHUT_WR)
                answer = http.client.HTTPResponse(connection)
                answer.begin()
                assert answer.status == status, framing
        assert webhook.admit()["allowed"]


def test_requests_may_follow_each_other_on_a_connection(webhook: Webhook) -> None:
    head = b"POST /webhooks/registry-spegel HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    whole = head + b"Content-Length: %d\r\n\r\n" % len(REVIEW) + REVIEW
    with webhook, webhook.raw() as connection:
        connection.sendall(whole + whole + whole[:-7])
        connection.sendall(whole[-7:])
        stream = connection.makefile("rb")
        for _ in range(3):
            assert stream.readline() == b"HTTP/1.1 200 OK\r\n"
            length = 0
            while (line := stream.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split()[1])
            assert patch_of(stream.read(length))


def test_figures_of_several_processes_are_one(webhook: Webhook) -> None:
    webhook.settings |= {"workers": 2, "cache_seconds": 0}
    with webhook:
        for _ in range(20):
            webhook.admit()
        _, figures = webhook.get("/metrics")
    assert b'admissions_total{outcome="patched",webhook="registry-spegel"} 20.0\n' in figures
    assert b'admission_duration_seconds_count{webhook="registry-spegel"} 20.0\n' in figures
    assert b"registry_spegel_webhook_certificate_expiry_timestamp_seconds 1." in figures


def test_it_does_not_start_with_a_certificate_that_it_cannot_use(webhook: Webhook) -> None:
    webhook.key.write_bytes(webhook.authority.issue()[1])
    process = webhook.start()
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert errors.startswith(f"error: {webhook.certificate} and {webhook.key}: ")
    assert errors.count("\n") == 1
