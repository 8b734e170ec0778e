"""The daemon as a process: what its unit, its users and the node agent see of it."""

from __future__ import annotations

import contextlib
import http.client
import json
import resource
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from daemon import run
from daemon.cli.commands import Registry as Settings
from daemon.sync.sync import Sync
from tests.daemon.cli import program
from tests.daemon.cli.program import LIMIT, Program, free_port, running
from tests.daemon.images import TestImage, make_image
from tests.daemon.layouts import lay_out

NAME = "docker.io/library/app:1"
RSS_LIMIT = 55 * 1000 * 1000
BIG = "sha256:" + "b" * 64
BIG_SIZE = 64 * 2**20


@dataclass
class Node:
    """A running daemon and its addresses."""

    process: Program
    registry: str
    metrics: str
    image: TestImage = field(repr=False)

    def get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Ask the registry."""
        connection = http.client.HTTPConnection(self.registry, timeout=LIMIT)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, dict(response.headers), response.read()

    def wait_until_refused(self) -> None:
        """Ask until nobody accepts connections any more."""
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            try:
                self.get("/")
            except ConnectionRefusedError:
                return
            except ConnectionError:
                continue  # it was waiting to be accepted when the listener closed
        raise AssertionError("connections are still accepted")


@contextlib.contextmanager
def node(tmp_path: Path, *flags: str, **environment: str) -> Iterator[Node]:
    """Start a daemon on a layout with one image and one large blob."""
    image = make_image(3)
    lay_out(tmp_path / "layout", {NAME: image})
    with (tmp_path / "layout" / "blobs" / BIG.replace(":", "/")).open("wb") as file:
        file.truncate(BIG_SIZE)
    registry, metrics = (f"127.0.0.1:{free_port()}" for _ in range(2))
    addresses = ["--registry-addr", registry, "--metrics-addr", metrics]
    layout = ["--oci-layout", str(tmp_path / "layout"), "--bootstrap-kind=static"]
    with running("registry", *layout, *addresses, *flags, **environment) as process:
        process.wait_for_log("listening")
        yield Node(process, registry, metrics, image)


def test_it_serves_what_is_in_its_store(tmp_path: Path) -> None:
    with node(tmp_path) as daemon:
        for path in ("/", "/v2", "/v2/", "/livez"):
            assert daemon.get(path)[0] == 200
        status, headers, data = daemon.get("/v2/library/app/manifests/1?ns=docker.io")
        assert (status, data) == (200, daemon.image.blobs[daemon.image.index])
        assert headers["Docker-Content-Digest"] == daemon.image.index
        layer = daemon.image.layers[0]
        assert daemon.get(f"/v2/library/app/blobs/{layer}")[2] == daemon.image.blobs[layer]
        missing = daemon.get(f"/v2/library/app/blobs/sha256:{'0' * 64}")
        assert (missing[0], json.loads(missing[2])["errors"][0]["code"]) == (404, "BLOB_UNKNOWN")
        daemon.process.wait_for_log("advertised")
        figures = urllib.request.urlopen(f"http://{daemon.metrics}/metrics").read().decode()
        assert 'spegel_advertised_image_tags{registry="docker.io"} 1.0' in figures
        assert 'http_request_duration_seconds_count{code="404"' in figures
        assert daemon.process.terminate() == 0
    assert [record["level"] for record in daemon.process.log()].count("INFO") == len(daemon.process.lines)


def test_what_is_filtered_out_is_given_away_under_no_name_unless_it_was_tagged_anew(tmp_path: Path) -> None:
    hidden, shared = make_image(4), make_image(5)
    with node(tmp_path, "--registry-filters", "/secret") as daemon:
        names = {"docker.io/team/secret:1": hidden, "docker.io/team/secret:2": shared}
        lay_out(tmp_path / "layout", {NAME: daemon.image, **names, "docker.io/team/public:2": shared})
        deadline = time.monotonic() + LIMIT
        while (tagged := daemon.get("/v2/team/public/manifests/2?ns=docker.io"))[0] != 200:
            assert time.monotonic() < deadline
        assert tagged[1]["Docker-Content-Digest"] == shared.index
        assert daemon.get("/v2/team/secret/manifests/2?ns=docker.io")[0] == 404
        for image, status in ((hidden, 404), (shared, 200), (daemon.image, 200)):
            for path in (
                f"manifests/{image.index}",
                f"manifests/{image.manifest}",
                f"blobs/{image.layers[0]}",
            ):
                for name in ("app", "team/public"):
                    assert daemon.get(f"/v2/{name}/{path}?ns=docker.io")[0] == status, (name, path)


def test_start_time_and_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with node(tmp_path) as daemon:
        ready = time.monotonic() - daemon.process.started
        daemon.process.wait_for_log("advertised")
        daemon.get("/v2/library/app/manifests/1?ns=docker.io")
        urllib.request.urlopen(f"http://{daemon.metrics}/debug/web/").read()
        status = Path(f"/proc/{daemon.process.process.pid}/status").read_text()
    (rss,) = (int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))
    with capsys.disabled():
        print(f"\n  daemon: ready after {ready:.2f} s, RSS {rss / 1e6:.1f} MB", end="")  # noqa: T201  # for whoever reads the log
    assert rss < RSS_LIMIT


def test_it_starts_without_containerd_and_answers_the_node_agent(tmp_path: Path) -> None:
    registry, metrics = (f"127.0.0.1:{free_port()}" for _ in range(2))
    addresses = ["--registry-addr", registry, "--metrics-addr", metrics]
    socket_flag = ["--containerd-sock", str(tmp_path / "containerd.sock")]
    with running("registry", "--bootstrap-kind=static", *addresses, *socket_flag) as process:
        process.wait_for_log("listening")
        daemon = Node(process, registry, metrics, make_image(1))
        assert daemon.get("/")[0] == 200
        assert daemon.get("/v2/")[0] == 200
        assert daemon.get("/readyz")[0] == 500
        assert daemon.get("/v2/library/app/manifests/1?ns=docker.io")[0] == 404
        process.wait_for_log("containerd cannot be reached")
        page = urllib.request.urlopen(f"http://{metrics}/debug/web/").read().decode()
        assert "The store cannot be read: containerd cannot be reached" in page
        assert process.terminate() == 0


class Download:
    """A client in the middle of the large blob; it reads when told to."""

    def __init__(self, daemon: Node) -> None:
        host, _, port = daemon.registry.partition(":")
        self._socket = socket.create_connection((host, int(port)), LIMIT)
        self._socket.sendall(f"GET /v2/library/app/blobs/{BIG} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        data = self._socket.recv(4096)
        self.received = len(data) - data.index(b"\r\n\r\n") - 4

    def __enter__(self) -> Download:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def finish(self) -> int:
        """Read to the end; return how many bytes of the body came."""
        with contextlib.suppress(ConnectionResetError):
            while self.received < BIG_SIZE and (data := self._socket.recv(2**20)):
                self.received += len(data)
        return self.received


def test_a_transfer_is_finished_before_it_stops(tmp_path: Path) -> None:
    with node(tmp_path, "--shutdown-timeout=1h") as daemon, Download(daemon) as download:
        daemon.process.process.send_signal(signal.SIGTERM)
        daemon.process.wait_for_log("stopping")
        daemon.wait_until_refused()
        assert download.finish() == BIG_SIZE
        assert daemon.process.process.wait(LIMIT) == 0


def test_a_transfer_that_takes_too_long_is_cut(tmp_path: Path) -> None:
    with node(tmp_path, "--shutdown-timeout=100ms") as daemon, Download(daemon) as download:
        assert daemon.process.terminate() == 0
        assert download.finish() < BIG_SIZE


def test_a_second_signal_stops_it_at_once(tmp_path: Path) -> None:
    with node(tmp_path, "--shutdown-timeout=1h") as daemon, Download(daemon) as download:
        daemon.process.process.send_signal(signal.SIGINT)
        daemon.process.wait_for_log("stopping")
        assert daemon.process.terminate(signal.SIGINT) == 0
        assert download.finish() < BIG_SIZE


def test_it_can_start_again_on_the_same_port_at_once(tmp_path: Path) -> None:
    with node(tmp_path) as first:
        first.get("/v2/")
        assert first.process.terminate() == 0
        flags = ["--registry-addr", first.registry, "--metrics-addr", first.metrics]
        with running(
            "registry", "--bootstrap-kind=static", *flags, OCI_LAYOUT=str(tmp_path / "layout")
        ) as second:
            second.wait_for_log("listening")
            assert second.terminate() == 0


def test_its_identity_is_kept_in_a_directory_that_it_makes(tmp_path: Path) -> None:
    directory = tmp_path / "not" / "there"
    identities = set()
    for _ in range(2):
        with node(tmp_path, "--data-dir", str(directory)) as daemon:
            identities.add(daemon.process.wait_for_log("listening")["id"])
            page = urllib.request.urlopen(f"http://{daemon.metrics}/debug/web/metadata").read()
            identities.add(json.loads(page)["libp2p"]["id"])
    (identity,) = identities
    assert identity.startswith("12D3Koo")


def test_it_takes_as_many_open_files_as_it_may(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        with node(tmp_path) as daemon:
            assert resource.prlimit(daemon.process.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_systemd_is_told_and_pinged(tmp_path: Path) -> None:
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(LIMIT)
        with node(tmp_path, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="100000") as daemon:
            said = [manager.recv(100).decode() for _ in range(4)]
            assert said == ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]
            assert daemon.process.terminate() == 0
            while said[-1] == "WATCHDOG=1":
                said.append(manager.recv(100).decode())
        assert said[-1] == "STOPPING=1"


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--oci-layout", "missing", "--oci-layout: {value}: No such file or directory"),
        ("--oci-layout", "x" * 300, "--oci-layout: {value}: File name too long"),
        ("--data-dir", "unreadable", "the node's key {value}/private.key cannot be kept"),
        ("--data-dir", "keyless/tls.crt", "the node's key {value}/private.key cannot be kept"),
        ("--http-bootstrap-cert-dir", "keyless", "{value}: a certificate needs its key, but tls.key is"),
        ("--registry-filters", "(", "is no regular expression"),
        ("--mirrored-registries", "docker.io", "registry 'docker.io' must start with https://"),
        ("--registry-addr", "{taken}", "cannot listen on {value}: Address already in use"),
        ("--metrics-addr", "{taken}", "cannot listen on {value}: Address already in use"),
    ],
)
def test_what_keeps_it_from_starting_is_one_line_and_exit_code_1(
    tmp_path: Path, flag: str, value: str, message: str
) -> None:
    (tmp_path / "unreadable" / "private.key").mkdir(parents=True)
    (tmp_path / "keyless").mkdir()
    (tmp_path / "keyless" / "tls.crt").write_text("x")
    with socket.create_server(("127.0.0.1", 0)) as server:
        if value == "{taken}":
            value = f"127.0.0.1:{server.getsockname()[1]}"
        elif flag in {"--oci-layout", "--data-dir", "--http-bootstrap-cert-dir"}:
            value = str(tmp_path / value)
        free = [f"--{kind}-addr=127.0.0.1:{free_port()}" for kind in ("registry", "metrics")]
        kind = ["--bootstrap-kind=http", "--http-bootstrap-url=https://127.0.0.1"]
        result = program.run("registry", *kind, *free, flag, value)
    assert result.returncode == 1
    (last,) = [json.loads(line) for line in result.stderr.splitlines() if '"ERROR"' in line]
    assert message.format(value=value) in last["msg"]
    assert "Traceback" not in result.stderr


def test_a_part_that_fails_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: Sync) -> None:
        raise RuntimeError("something unheard of")

    lay_out(tmp_path / "layout", {})
    monkeypatch.setattr(Sync, "run", fail)
    addresses = (f"127.0.0.1:{free_port()}" for _ in range(2))
    settings = Settings(
        bootstrap_kind="static",
        router_addr="127.0.0.1:0",
        oci_layout=str(tmp_path / "layout"),
        registry_addr=next(addresses),
        metrics_addr=next(addresses),
    )
    assert run.run_registry(settings) == 1
    assert "the sync failed" in caplog.text
    assert "something unheard of" in caplog.text
