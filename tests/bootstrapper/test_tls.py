"""Mutual TLS with certificates made by openssl, asked by curl and by Python."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.bootstrap.base import BootstrapError
from daemon.bootstrap.http import HttpSource
from tests.bootstrapper.authority import Authority, Pair
from tests.bootstrapper.nodes import node
from tests.bootstrapper.process import PATIENCE, Bootstrapper

RATE = 50
"""Requests a second while files change."""


def require(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"needs {program}")  # openssl and curl are on every Debian machine that runs these tests
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bootstrapper]:
    """One for all tests that change no files."""
    with made(tmp_path_factory.mktemp("server")) as server:
        server.wait_until_ready()
        yield server


@pytest.fixture
def other(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "other", "other authority")


def made(directory: Path) -> Bootstrapper:
    file = directory / "nodes.json"
    file.write_text(json.dumps([node("a", "10.0.0.1")]))
    return Bootstrapper(directory, nodes_file=file)


def curl(server: Bootstrapper, pair: Pair | None, *options: str, scheme: str = "https") -> tuple[int, str]:
    """Exit status and output; the status of curl tells what kind of failure it was."""
    certificate = ["--cert", str(pair.certificate), "--key", str(pair.key)] if pair else []
    done = subprocess.run(
        [
            require("curl"), "-sS", "--max-time", "20", "--cacert", str(server.authority.certificate),
            *certificate, *options, f"{scheme}://localhost:{server.port}/bootstrap-nodes",
        ],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_the_certificates_that_clients_show_are_known_by_the_one_that_ends_first(tmp_path: Path) -> None:
    name = "client_certificate_expiry_timestamp_seconds"

    def days_left(server: Bootstrapper) -> int:
        return round((server.figure(name) - time.time()) / 86400)

    with made(tmp_path) as server:
        server.wait_until_ready()
        assert server.figure(name) == float("inf")
        server.nodes()
        assert days_left(server) == 10
        older = server.tls(server.authority.issue("clientAuth", days=3))
        assert server.get("/topology", older)[0] == 200
        server.nodes()
        assert days_left(server) == 3


def test_a_client_with_a_certificate_is_answered(server: Bootstrapper) -> None:
    for version in ("--tls-max 1.2", "--tlsv1.3"):
        status, output = curl(server, server.client, *version.split())
        assert (status, json.loads(output)[0]["IP"]) == (0, "10.0.0.1")


def certificates(directory: Path, authority: Authority, pair: Pair) -> Path:
    """A directory as ``--http-bootstrap-cert-dir`` wants it."""
    for name, file in (
        ("ca.crt", authority.certificate),
        ("tls.crt", pair.certificate),
        ("tls.key", pair.key),
    ):
        shutil.copy(file, directory / name)
    return directory


async def test_the_daemon_finds_its_peers(server: Bootstrapper, other: Authority, tmp_path: Path) -> None:
    url = f"https://localhost:{server.port}/bootstrap-nodes"
    source = HttpSource(url, certificates(tmp_path, server.authority, server.client))
    (found,) = await source.find()
    assert (found.id, [str(address) for address in found.addresses]) == (None, ["/ip4/10.0.0.1"])
    certificates(tmp_path, server.authority, other.issue("clientAuth"))
    with pytest.raises(BootstrapError):
        await source.find()


def refusals(server: Bootstrapper, reason: str, *arguments: object, **options: str) -> str:
    """Be refused by curl and counted once; returns what curl says."""
    before = server.refused(reason)
    pair = arguments[0] if arguments else None
    assert pair is None or isinstance(pair, Pair)
    status, output = curl(server, pair, *map(str, arguments[1:]), **options)
    assert status != 0
    assert "10.0.0.1" not in output
    server.wait_until(lambda: server.refused(reason) == before + 1)
    return output


def test_without_a_certificate(server: Bootstrapper) -> None:
    assert "certificate required" in refusals(server, "no_certificate")


def test_with_a_certificate_that_has_ended(server: Bootstrapper) -> None:
    ended = server.authority.issue("clientAuth", days=-1)
    assert "certificate expired" in refusals(server, "certificate_expired", ended)


def test_with_a_certificate_of_another_authority(server: Bootstrapper, other: Authority) -> None:
    assert "unknown ca" in refusals(server, "certificate_untrusted", other.issue("clientAuth"))


def test_with_a_certificate_for_another_use(server: Bootstrapper) -> None:
    refusals(server, "certificate_invalid", server.authority.issue("serverAuth"))


def test_with_plain_http(server: Bootstrapper) -> None:
    refusals(server, "plain_http", scheme="http")


def test_with_an_old_version_of_tls(server: Bootstrapper) -> None:
    before = server.refused("tls_version") + server.refused("handshake")
    status, _ = curl(
        server, server.client, "--tlsv1.0", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"
    )
    assert status != 0
    server.wait_until(lambda: server.refused("tls_version") + server.refused("handshake") == before + 1)


def test_a_client_that_does_not_trust_the_server(server: Bootstrapper, other: Authority) -> None:
    refusals(server, "refused_by_client", server.client, "--cacert", str(other.certificate))


def test_a_client_that_only_looks_whether_the_port_is_open_is_no_refusal(server: Bootstrapper) -> None:
    _, before = server.probe("/metrics")
    socket.create_connection(("127.0.0.1", server.port), PATIENCE).close()
    assert len(server.nodes()) == 1
    _, after = server.probe("/metrics")
    assert [line for line in after.split(b"\n") if b"refused_connections_total{" in line] == [
        line for line in before.split(b"\n") if b"refused_connections_total{" in line
    ]


@contextlib.contextmanager
def session(
    server: Bootstrapper, context: ssl.SSLContext, known: ssl.SSLSession | None
) -> Iterator[ssl.SSLSocket]:
    """A connection on which one request has been answered."""
    with (
        socket.create_connection(("127.0.0.1", server.port), PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="localhost", session=known) as connection,
    ):
        assert ask(connection).status == 200
        yield connection


def ask(connection: ssl.SSLSocket) -> http.client.HTTPResponse:
    """Ask for the nodes, and return the answer when it has been read."""
    connection.sendall(b"GET /bootstrap-nodes HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with http.client.HTTPResponse(connection) as answer:
        answer.begin()
        answer.read()
        return answer


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed(server: Bootstrapper, version: ssl.TLSVersion) -> None:
    context = server.tls()
    context.maximum_version = version
    with session(server, context, None) as first:
        assert not first.session_reused
        known = first.session
    with session(server, context, known) as second:
        assert second.session_reused


def test_a_client_that_was_revoked_by_rotation_is_refused_also_with_a_known_session(
    tmp_path: Path, other: Authority
) -> None:
    with made(tmp_path) as server:
        server.wait_until_ready()
        context = server.tls()
        with session(server, context, None) as first:
            known = first.session
        server.trust(server.authority, other)
        assert curl(server, other.issue("clientAuth"))[0] == 0
        assert curl(server, server.client)[0] == 0
        with session(server, context, known) as again:
            assert not again.session_reused, "it had to show its certificate again"
            server.trust(other)
            assert ask(again).headers["Connection"] == "close", "its next answer is its last"
        assert "unknown ca" in refusals(server, "certificate_untrusted", server.client)
        with pytest.raises((ssl.SSLError, ConnectionError)), session(server, context, known):
            pass
        assert curl(server, other.issue("clientAuth"))[0] == 0


def test_a_bundle_that_cannot_be_read_leaves_the_one_before(tmp_path: Path) -> None:
    with made(tmp_path) as server:
        server.wait_until_ready()
        server.authorities.write_text("nonsense")
        assert len(server.nodes()) == 1
        assert str(server.authorities) in server.wait_for("kept the old certificate")
        assert "no_certificate" not in server.probe("/metrics")[1].decode()
        assert curl(server, None)[0] != 0
        ends = server.figure("certificate_expiry_timestamp_seconds")
        server.renew(server.authority.issue("serverAuth", days=20), server.authority)
        assert server.figure("certificate_expiry_timestamp_seconds") - ends == pytest.approx(
            10 * 86400, abs=60
        )


def test_rotation_under_load_loses_no_request(tmp_path: Path, other: Authority) -> None:
    """Certificate, key and authorities change ten times, while clients ask 50 times a second."""
    with made(tmp_path) as server:
        server.wait_until_ready()
        context = server.tls()
        context.load_verify_locations(other.certificate)
        failures: list[object] = []
        stop = threading.Event()
        done = [0, 0]

        def keep_asking(number: int, *, keep: bool) -> None:
            connection = server.connect(context)
            due = time.monotonic()
            while not stop.is_set():
                due += 2 / RATE
                time.sleep(max(0.0, due - time.monotonic()))
                try:
                    connection.request("GET", "/bootstrap-nodes")
                    answer = connection.getresponse()
                    if answer.status != 200 or b"10.0.0.1" not in answer.read():
                        failures.append(answer.status)
                except (OSError, http.client.HTTPException) as error:
                    failures.append(error)
                if not keep:
                    connection.close()
                done[number] += 1
            connection.close()

        clients = [
            threading.Thread(target=keep_asking, args=(0,), kwargs={"keep": True}),
            threading.Thread(target=keep_asking, args=(1,), kwargs={"keep": False}),
        ]
        for client in clients:
            client.start()
        try:
            for step in range(10):
                signer = other if step % 2 else server.authority
                server.renew(signer.issue("serverAuth"), server.authority, other)
                seen = list(done)
                server.wait_until(
                    lambda seen=seen: all(now >= then + 10 for now, then in zip(done, seen, strict=True))
                )
        finally:
            stop.set()
            for client in clients:
                client.join()
        assert failures == []
        assert sum("took the renewed certificate" in line for line in server.log) >= 10
