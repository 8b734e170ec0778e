"""Reading the objects with the official client, from a server that does as it is told."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.apiserver import ApiServer as FakeServer
from demo.apiserver import path_of
from tests.unit.admission_samples import NAMESPACE, cluster, extension, secret
from webhook.context.api_server import ApiServer
from webhook.context.landscape import LandscapeError

EXTENSION, CLUSTER, SECRET = (path_of(thing) for thing in (extension(), cluster(), secret()))


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(extension(), cluster(), secret()) as server:
        yield server


@pytest.fixture
def client(server: FakeServer, tmp_path: Path) -> ApiServer:
    return ApiServer(server.write_kubeconfig(tmp_path / "kubeconfig"), timeout_seconds=20, connections=2)


def hasty(server: FakeServer, tmp_path: Path) -> ApiServer:
    return ApiServer(server.write_kubeconfig(tmp_path / "kubeconfig"), timeout_seconds=0.2, connections=2)


def test_the_three_objects_are_read_at_their_paths(server: FakeServer, client: ApiServer) -> None:
    assert client.extension(NAMESPACE) == extension()
    assert client.cluster(NAMESPACE) == cluster()
    assert client.secret(NAMESPACE) == secret()
    assert server.requests == {EXTENSION: 1, CLUSTER: 1, SECRET: 1}


def test_an_object_that_does_not_exist_is_none(server: FakeServer, client: ApiServer) -> None:
    server.objects.clear()
    assert client.extension(NAMESPACE) is None
    assert client.cluster(NAMESPACE) is None
    assert client.secret(NAMESPACE) is None


@pytest.mark.parametrize("status", [401, 403, 409, 429, 500, 503, 302, 204])
def test_any_other_status_is_an_error_with_the_reason_and_no_second_try(
    server: FakeServer, client: ApiServer, status: int
) -> None:
    server.statuses[SECRET] = status
    with pytest.raises(
        LandscapeError, match=rf"^Secret {NAMESPACE}/registry-spegel-bootstrap: .* {status}: "
    ):
        client.secret(NAMESPACE)
    assert server.requests[SECRET] == 1


@pytest.mark.parametrize("body", [b"[]", b"null", b"", b"{", b'{"data": ' + b"[" * 100_000, b"\xff"])
def test_an_answer_that_is_no_object_is_an_error(server: FakeServer, client: ApiServer, body: bytes) -> None:
    server.raw[CLUSTER] = body
    with pytest.raises(LandscapeError, match=f"Cluster {NAMESPACE}: .* not a JSON object"):
        client.cluster(NAMESPACE)


def test_an_answer_without_end_is_cut_off(
    server: FakeServer, client: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhook.context.api_server._MAX_BYTES", 1 << 20)
    server.raw[CLUSTER] = b" " * (1 << 21)
    with pytest.raises(LandscapeError, match="longer than 1048576 bytes"):
        client.cluster(NAMESPACE)
    assert client.extension(NAMESPACE) == extension()


def test_a_server_that_hangs_is_given_up(server: FakeServer, tmp_path: Path) -> None:
    server.hanging.add(EXTENSION)
    with pytest.raises(LandscapeError, match=rf"Extension {NAMESPACE}/registry-spegel: .* within 0.2 s"):
        hasty(server, tmp_path).extension(NAMESPACE)


def test_a_server_that_is_away_is_an_error(server: FakeServer, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    kubeconfig = server.write_kubeconfig(tmp_path / "kubeconfig")
    kubeconfig.write_text(kubeconfig.read_text().replace(server.url, f"http://127.0.0.1:{port}"))
    client = ApiServer(kubeconfig, timeout_seconds=20, connections=2)
    with pytest.raises(LandscapeError, match="Connection refused"):
        client.extension(NAMESPACE)


def test_https_to_a_server_without_tls_is_an_error_in_one_line(server: FakeServer, tmp_path: Path) -> None:
    kubeconfig = server.write_kubeconfig(tmp_path / "kubeconfig")
    kubeconfig.write_text(kubeconfig.read_text().replace("http:", "https:"))
    client = ApiServer(kubeconfig, timeout_seconds=20, connections=2)
    with pytest.raises(LandscapeError, match=r"^Extension .*SSL.*\Z"):
        client.extension(NAMESPACE)


def test_the_version_tells_whether_the_server_answers(server: FakeServer, client: ApiServer) -> None:
    client.version()
    server.statuses["/version"] = 503
    with pytest.raises(LandscapeError, match="status 503"):
        client.version()
    server.statuses["/version"] = 404
    with pytest.raises(LandscapeError, match="not found"):
        client.version()


@pytest.mark.parametrize("content", [None, "", "a string", "clusters: 1", "{", "- 1"])
def test_an_unusable_kubeconfig_is_an_error(tmp_path: Path, content: str | None) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    if content is not None:
        kubeconfig.write_text(content)
    with pytest.raises(LandscapeError, match="no usable configuration for the API server"):
        ApiServer(kubeconfig, timeout_seconds=1, connections=1)


def test_a_pod_uses_its_own_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    with pytest.raises(LandscapeError, match=r"Service host/port|Service token"):
        ApiServer(None, timeout_seconds=1, connections=1)


def test_elsewhere_the_environment_names_the_file(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig = server.write_kubeconfig(tmp_path / "kubeconfig")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
    assert ApiServer(None, timeout_seconds=20, connections=1).extension(NAMESPACE) == extension()
