"""The bootstrapper as it runs: ``python -m bootstrapper serve``, with an API server and any clients."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import resource
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from bootstrapper.answers import MAX_LIMIT
from tests.apiserver import ApiServer
from tests.bootstrapper.nodes import node
from tests.bootstrapper.process import PATIENCE, Bootstrapper

NODE = "/api/v1/nodes"
FEW_QUIET = {"quiet_connections": 16, "client_timeout_seconds": 300, "shutdown_timeout_seconds": 1}


def test_a_node_is_answered(bootstrapper: Bootstrapper, api: ApiServer) -> None:
    with bootstrapper:
        bootstrapper.wait_until_ready()
        assert bootstrapper.nodes() == [
            {"ID": "", "Addrs": ["/ip4/10.0.0.1"], "IP": "10.0.0.1", "Zone": ""},
            {"ID": "", "Addrs": ["/ip4/10.0.0.2", "/ip6/fd00::2"], "IP": "10.0.0.2", "Zone": ""},
        ]
        status, body, headers = bootstrapper.get("/topology")
        assert (status, body) == (200, b'{"10.0.0.1":"z1","10.0.0.2":"z2","fd00::2":"z2"}')
        assert bootstrapper.get("/topology", If_None_Match=headers["ETag"])[:2] == (304, b"")
        assert len(json.loads(bootstrapper.get("/bootstrap-nodes?limit=1")[1])) == 1
        assert bootstrapper.get(f"/bootstrap-nodes?limit={MAX_LIMIT + 1}")[0] == 400
        assert bootstrapper.get("/metrics")[0] == 404, "probes are on a port of their own"
        assert bootstrapper.probe("/bootstrap-nodes")[0] == 404
        assert bootstrapper.figure('requests_total{code="304",path="/topology"}') == 1
        assert bootstrapper.figure('nodes{rank="ready"}') == 2
        api.create(node("c", "10.0.0.3"))
        bootstrapper.wait_until(lambda: "10.0.0.3" in bootstrapper.addresses())
    assert bootstrapper.process.returncode == 0
    assert all(json.loads(line) for line in bootstrapper.log)


def test_it_is_ready_only_once_it_has_a_list_and_a_cluster_may_be_empty(tmp_path: Path) -> None:
    api = ApiServer()
    api.start()
    kubeconfig = api.write_kubeconfig(tmp_path / "kubeconfig")
    api.stop()
    with Bootstrapper(tmp_path, kubeconfig=kubeconfig) as bootstrapper:
        bootstrapper.wait_for("no news of the nodes")
        assert bootstrapper.probe("/healthz") == (200, b"ok\n")
        assert bootstrapper.probe("/readyz") == (503, b"the nodes have not been read yet\n")
        assert bootstrapper.get("/bootstrap-nodes")[0] == 503
        api.start()
        bootstrapper.wait_until_ready()
        assert bootstrapper.get("/bootstrap-nodes")[:2] == (200, b"[]")
        assert bootstrapper.get("/topology")[:2] == (200, b"{}")
        bootstrapper.wait_for("the nodes are known again")
    api.stop()


def test_the_last_answer_is_served_while_the_api_server_is_away(
    bootstrapper: Bootstrapper, api: ApiServer
) -> None:
    with bootstrapper:
        bootstrapper.wait_until_ready()
        api.stop()
        bootstrapper.wait_until(
            lambda: bootstrapper.figure('source_failures_total{reason="disconnected"}') >= 2
        )
        bootstrapper.wait_until(lambda: bootstrapper.figure("answer_age_seconds") > 1)
        assert len(bootstrapper.nodes()) == 2
        assert bootstrapper.probe("/readyz")[0] == 200
        api.start()
        bootstrapper.wait_until(lambda: bootstrapper.figure("answer_age_seconds") < 1)


def test_a_node_that_stays_unready_moves_to_the_end_by_itself(
    bootstrapper: Bootstrapper, api: ApiServer
) -> None:
    bootstrapper.settings["not_ready_seconds"] = 3
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    api.create(node("old", "10.0.0.8", ready=False, created="2025-01-01T00:00:00Z"))
    api.create(node("ill", "10.0.0.9", ready=False, since=now))
    with bootstrapper:
        bootstrapper.wait_until_ready()
        bootstrapper.wait_until(lambda: bootstrapper.figure('nodes{rank="last"}') == 2)
        assert bootstrapper.addresses()[:2] == ["10.0.0.1", "10.0.0.2"]
        assert set(bootstrapper.addresses()[2:]) == {"10.0.0.8", "10.0.0.9"}


def test_with_several_processes_there_is_one_watch_and_its_end_is_survived(
    bootstrapper: Bootstrapper, api: ApiServer
) -> None:
    bootstrapper.settings["workers"] = 3
    with bootstrapper:
        bootstrapper.wait_until_ready()
        bootstrapper.wait_until(lambda: len(bootstrapper.workers()) == 3)
        for _ in range(12):
            assert len(bootstrapper.nodes()) == 2
        assert api.watches == 1
        assert api.count()["list"] == 1
        os.kill(watcher(bootstrapper, api), signal.SIGKILL)
        api.create(node("c", "10.0.0.3"))
        bootstrapper.wait_until(lambda: api.count()["list"] == 2)
        bootstrapper.wait_until(lambda: all(len(bootstrapper.addresses()) == 3 for _ in range(6)))
        assert api.count()["watch"] == 2


def test_an_api_server_with_tls_is_followed_by_the_next_process_too(tmp_path: Path) -> None:
    bootstrapper = Bootstrapper(tmp_path, kubeconfig=tmp_path / "kubeconfig")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(bootstrapper.server_pair.certificate, bootstrapper.server_pair.key)
    with ApiServer(node("a", "10.0.0.1"), tls=context) as api:
        kubeconfig = json.loads(api.write_kubeconfig(tmp_path / "kubeconfig").read_text())
        inline = base64.b64encode(bootstrapper.authority.certificate.read_bytes()).decode()
        kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"] = inline
        (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig))
        with bootstrapper:
            bootstrapper.wait_until_ready()
            (worker,) = bootstrapper.workers()
            os.kill(worker, signal.SIGABRT)  # as gunicorn does when one hangs; it ends in good order
            api.create(node("b", "10.0.0.2"))
            bootstrapper.wait_until(lambda: bootstrapper.workers() not in ([], [worker]))
            bootstrapper.wait_until(lambda: len(bootstrapper.addresses()) == 2)
            assert bootstrapper.figure('source_failures_total{reason="disconnected"}') == 0


def watcher(bootstrapper: Bootstrapper, api: ApiServer) -> int:
    """The process that has a connection to the API server."""
    port = int(api.url.rpartition(":")[2])
    for process in bootstrapper.workers():
        tables = Path(f"/proc/{process}/net/tcp").read_text().splitlines()[1:]
        inodes = {line.split()[9] for line in tables if line.split()[2].endswith(f":{port:04X}")}
        for descriptor in Path(f"/proc/{process}/fd").iterdir():
            with contextlib.suppress(OSError):
                if str(descriptor.readlink())[len("socket:[") : -1] in inodes:
                    return process
    raise AssertionError("no process watches")


def test_nodes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "nodes.yaml"
    file.write_text(yaml.safe_dump({"kind": "List", "items": [node("a", "10.0.0.1")]}))
    with Bootstrapper(tmp_path, nodes_file=file) as bootstrapper:
        bootstrapper.wait_until_ready()
        assert bootstrapper.addresses() == ["10.0.0.1"]
        file.write_text(json.dumps([node("a", "10.0.0.1"), node("b", "10.0.0.2")]))
        bootstrapper.wait_until(lambda: bootstrapper.addresses() == ["10.0.0.1", "10.0.0.2"])
        file.write_text("kind: [")
        assert "nodes.yaml" in bootstrapper.wait_for("no news of the nodes")
        assert bootstrapper.addresses() == ["10.0.0.1", "10.0.0.2"], "what was good last stays"
        file.write_text(json.dumps(node("c", "10.0.0.3")))
        bootstrapper.wait_until(lambda: bootstrapper.addresses() == ["10.0.0.3"])


def test_loopback_may_do_without_tls(tmp_path: Path) -> None:
    file = tmp_path / "nodes.json"
    file.write_text(json.dumps([node("a", "10.0.0.1")]))
    plain = {"tls_certificate": None, "tls_key": None, "client_authorities": None}
    with Bootstrapper(tmp_path, nodes_file=file, **plain) as bootstrapper:
        bootstrapper.wait_until_ready()
        command = ["curl", "-sS", f"http://127.0.0.1:{bootstrapper.port}/bootstrap-nodes"]
        answer = subprocess.run(command, check=True, capture_output=True)
        assert json.loads(answer.stdout)[0]["IP"] == "10.0.0.1"


HEAD = b"GET /bootstrap-nodes HTTP/1.1\r\nHost: localhost\r\n"


def raw(bootstrapper: Bootstrapper) -> Any:
    plain = socket.create_connection(("127.0.0.1", bootstrapper.port), PATIENCE)
    return bootstrapper.tls().wrap_socket(plain, server_hostname="localhost")


class Handshake:
    """A client that keeps the last words of its handshake until it is told to finish."""

    def __init__(self, bootstrapper: Bootstrapper) -> None:
        self._plain = socket.create_connection(("127.0.0.1", bootstrapper.port), PATIENCE)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = bootstrapper.tls().wrap_bio(self._in, self._out, server_hostname="localhost")

    def __enter__(self) -> Handshake:
        while not self._is_done():
            self._plain.sendall(self._out.read())
            self._in.write(self._plain.recv(65536))
        return self

    def __exit__(self, *_: object) -> None:
        self._plain.close()

    def _is_done(self) -> bool:
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
            return True
        return False

    def finish(self) -> None:
        """Say the last words, which leave the connection quiet."""
        self._plain.sendall(self._out.read())

    def status(self) -> int:
        """Ask once, and return the answer's status."""
        self._tls.write(HEAD + b"\r\n")
        self._plain.sendall(self._out.read())
        answer = b""
        while b"\r\n" not in answer:
            try:
                answer += self._tls.read(65536)
            except ssl.SSLWantReadError:
                self._in.write(self._plain.recv(65536))
        return int(answer.split()[1])


def is_closed(connection: socket.socket) -> bool:
    """Wait until the other side closes."""
    try:
        return connection.recv(1) == b""
    except (ConnectionResetError, BrokenPipeError):
        return True


def test_a_thousand_idle_and_slow_clients_hold_up_nobody(bootstrapper: Bootstrapper) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    bootstrapper.settings |= {"threads": 2, "client_timeout_seconds": 300, "shutdown_timeout_seconds": 1}
    try:
        with bootstrapper, contextlib.ExitStack() as connections:
            bootstrapper.wait_until_ready()
            for number in range(1000):
                idle = connections.enter_context(socket.create_connection(("127.0.0.1", bootstrapper.port)))
                if number % 2:
                    idle.sendall(b"\x16\x03\x01\x02")  # the beginning of a handshake
            for number in range(20):
                slow = connections.enter_context(raw(bootstrapper))
                slow.sendall(HEAD if number % 2 else HEAD[:5])
            assert len(bootstrapper.nodes()) == 2
            assert bootstrapper.probe("/healthz")[0] == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_who_waits_for_a_turn_is_not_taken_for_slow(bootstrapper: Bootstrapper) -> None:
    """Clients that stall get a hundred places for a quarter of a second; whoever comes then waits longer."""
    bootstrapper.settings["client_timeout_seconds"] = 1
    with bootstrapper, contextlib.ExitStack() as connections:
        bootstrapper.wait_until_ready()
        for _ in range(800):
            stalling = connections.enter_context(socket.create_connection(("127.0.0.1", bootstrapper.port)))
            stalling.sendall(b"\x16\x03\x01\x02")
        assert len(bootstrapper.nodes()) == 2
        bootstrapper.wait_until(lambda: bootstrapper.refused("timeout") == 800)


def test_beyond_the_limit_the_quietest_connection_makes_room(bootstrapper: Bootstrapper) -> None:
    bootstrapper.settings |= {"connections": 64, "client_timeout_seconds": 300, "shutdown_timeout_seconds": 1}
    with bootstrapper, contextlib.ExitStack() as connections:
        bootstrapper.wait_until_ready()
        idle = [
            connections.enter_context(socket.create_connection(("127.0.0.1", bootstrapper.port), PATIENCE))
            for _ in range(200)
        ]
        assert is_closed(idle[0])
        assert len(bootstrapper.nodes()) == 2
        assert bootstrapper.refused("timeout") > 100


def status_of(connection: socket.socket) -> int:
    """Ask once on a connection, and read the whole answer."""
    connection.sendall(HEAD + b"\r\n")
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer.status


@pytest.mark.parametrize("asks", [False, True], ids=["after the handshake", "after an answer"])
def test_few_keep_what_tls_takes_while_they_are_quiet(bootstrapper: Bootstrapper, asks: bool) -> None:
    bootstrapper.settings |= FEW_QUIET
    with bootstrapper, contextlib.ExitStack() as connections:
        bootstrapper.wait_until_ready()
        quiet = []
        for _ in range(40):
            quiet.append(connections.enter_context(raw(bootstrapper)))
            if asks:
                assert status_of(quiet[-1]) == 200
        assert is_closed(quiet[0])
        assert len(bootstrapper.nodes()) == 2
        assert status_of(quiet[-1]) == 200


@pytest.mark.parametrize("asks", [False, True], ids=["after the handshake", "after an answer"])
def test_a_connection_may_be_dropped_at_the_moment_at_which_it_speaks(
    bootstrapper: Bootstrapper, asks: bool
) -> None:
    """It makes room for another one, and has something to read, in the same turn of the loop."""
    bootstrapper.settings |= FEW_QUIET
    with bootstrapper, contextlib.ExitStack() as connections:
        bootstrapper.wait_until_ready()
        oldest, *others = [connections.enter_context(raw(bootstrapper)) for _ in range(16)]
        for connection in (oldest, *others) if asks else others[-1:]:
            assert status_of(connection) == 200
        newest = connections.enter_context(Handshake(bootstrapper))
        (worker,) = bootstrapper.workers()
        os.kill(worker, signal.SIGSTOP)
        newest.finish()
        oldest.sendall(HEAD)
        os.kill(worker, signal.SIGCONT)
        assert newest.status() == 200
        assert status_of(others[-1]) == 200
        assert bootstrapper.workers() == [worker]


def test_clients_that_take_too_long_are_dropped_and_counted(bootstrapper: Bootstrapper) -> None:
    bootstrapper.settings["client_timeout_seconds"] = 0.5
    with bootstrapper, contextlib.ExitStack() as connections:
        bootstrapper.wait_until_ready()
        silent = connections.enter_context(
            socket.create_connection(("127.0.0.1", bootstrapper.port), PATIENCE)
        )
        slow = connections.enter_context(raw(bootstrapper))
        slow.sendall(HEAD)
        assert is_closed(silent)
        assert is_closed(slow)
        assert bootstrapper.refused("timeout") == 1
        assert len(bootstrapper.nodes()) == 2


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n\r\n", 414),
        (HEAD + b"X-Long: " + b"x" * 5000 + b"\r\n\r\n", 431),
        (HEAD + b"X-Many: x\r\n" * 100 + b"\r\n", 431),
        (b"nonsense\r\n\r\n", 400),
    ],
)
def test_lines_and_headers_are_bounded(bounded: Bootstrapper, request_: bytes, status: int) -> None:
    with raw(bounded) as connection:
        connection.sendall(request_)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == status
    assert bounded.get("/bootstrap-nodes")[0] == 200


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    directory = tmp_path_factory.mktemp("bounded")
    file = directory / "nodes.json"
    file.write_text("[]")
    with Bootstrapper(directory, nodes_file=file) as bootstrapper:
        bootstrapper.wait_until_ready()
        yield bootstrapper


def test_who_comes_too_often_is_refused_and_others_are_not(bootstrapper: Bootstrapper) -> None:
    bootstrapper.settings |= {"rate": 0.01, "burst": 4}
    with bootstrapper:
        bootstrapper.wait_until_ready()
        connection = bootstrapper.connect()
        statuses = []
        for _ in range(4):  # the connection counts too
            connection.request("GET", "/bootstrap-nodes")
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
        connection.close()
        assert statuses == [200, 200, 200, 429]
        with pytest.raises(OSError, match=r"EOF|reset|closed"):
            bootstrapper.get("/bootstrap-nodes")
        assert bootstrapper.refused("rate") == 1
        curl = subprocess.run(
            ["curl", "-sS", "--interface", "127.0.0.2", "--cacert", bootstrapper.authority.certificate,
             "--cert", bootstrapper.client.certificate, "--key", bootstrapper.client.key,
             f"https://localhost:{bootstrapper.port}/bootstrap-nodes"],
            check=True, capture_output=True,
        )  # fmt: skip
        assert len(json.loads(curl.stdout)) == 2


def test_a_mistake_is_said_at_once(tmp_path: Path) -> None:
    bootstrapper = Bootstrapper(tmp_path, nodes_file=tmp_path / "missing.yaml")
    command, environment = bootstrapper.command()
    options: dict[str, Any] = {"env": environment, "capture_output": True, "text": True, "timeout": PATIENCE}
    done = subprocess.run(command, check=False, **options)
    assert (done.returncode, done.stderr) == (1, f"error: {tmp_path}/missing.yaml: there is no such file\n")
    bootstrapper.authorities.write_text("nonsense")
    done = subprocess.run(command, check=False, **options)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {bootstrapper.authorities}: ")
    assert done.stderr.count("\n") == 1
