"""nginx in front, as a seed's ingress is: passing TLS through, or ending it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bootstrapper.authority import Authority
from tests.bootstrapper.nodes import node
from tests.bootstrapper.process import PATIENCE, Bootstrapper

STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")

PASSTHROUGH = """
load_module {module};
daemon off; pid {directory}/pid; error_log stderr; worker_processes 1;
events {{ worker_connections 256; }}
stream {{
    server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{upstream}; }}
}}
"""

TERMINATING = """
daemon off; pid {directory}/pid; error_log stderr; worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
    uwsgi_temp_path {directory}; scgi_temp_path {directory};
    upstream bootstrapper {{ server 127.0.0.1:{upstream}; keepalive 4; }}
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {server.certificate}; ssl_certificate_key {server.key};
        ssl_client_certificate {clients.certificate}; ssl_verify_client on;
        location / {{
            proxy_pass https://bootstrapper; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_ssl_certificate {own.certificate}; proxy_ssl_certificate_key {own.key};
            proxy_ssl_trusted_certificate {authority.certificate}; proxy_ssl_verify on;
            proxy_ssl_name localhost; proxy_ssl_session_reuse on;
        }}
    }}
}}
"""


@pytest.fixture(scope="module")
def nginx() -> str:
    path = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if path is None or not STREAM_MODULE.exists():
        message = "needs nginx with its stream module: apt-get install nginx-light libnginx-mod-stream"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bootstrapper]:
    directory = tmp_path_factory.mktemp("server")
    file = directory / "nodes.json"
    file.write_text(json.dumps([node("a", "10.0.0.1")]))
    with Bootstrapper(directory, nodes_file=file) as server:
        server.wait_until_ready()
        yield server


class Nginx:
    """nginx with a configuration, while entered."""

    def __init__(self, program: str, directory: Path, configuration: str, **values: object) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._file = directory / "nginx.conf"
        self._file.write_text(configuration.format(directory=directory, port=self.port, **values))
        self._program = program
        self._log = directory / "nginx.log"

    def __enter__(self) -> Nginx:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [self._program, "-c", str(self._file), "-e", "stderr"], stdout=log, stderr=log
            )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)

    def get(self, context: ssl.SSLContext, **headers: str) -> tuple[int, bytes, http.client.HTTPMessage]:
        connection = http.client.HTTPSConnection("localhost", self.port, context=context, timeout=PATIENCE)
        try:
            connection.request("GET", "/bootstrap-nodes", headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers
        finally:
            connection.close()

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except ConnectionRefusedError:
            return False
        return True


def test_tls_passed_through_is_mutual_from_end_to_end(
    nginx: str, server: Bootstrapper, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "stranger", "stranger").issue("clientAuth")
    with Nginx(nginx, tmp_path, PASSTHROUGH, module=STREAM_MODULE, upstream=server.port) as front:
        assert b"10.0.0.1" in front.get(server.tls())[1]
        with pytest.raises((ssl.SSLError, ConnectionError)):
            front.get(server.tls(stranger))
        server.wait_until(lambda: server.refused("certificate_untrusted") == 1)


def test_tls_ended_in_front_with_a_certificate_of_the_front_s_own(
    nginx: str, server: Bootstrapper, tmp_path: Path
) -> None:
    clients = Authority(tmp_path / "clients", "clients of the front")
    client = clients.issue("clientAuth")
    values = {
        "upstream": server.port,
        "server": server.server_pair,
        "clients": clients,
        "own": server.client,
        "authority": server.authority,
    }
    with Nginx(nginx, tmp_path, TERMINATING, **values) as front:
        status, body, headers = front.get(server.tls(client))
        assert status == 200
        assert b"10.0.0.1" in body
        assert front.get(server.tls(client), **{"If-None-Match": headers["ETag"]})[:2] == (304, b"")
        assert front.get(server.tls(server.client))[0] == 400, "not a client of the front"


def test_a_front_without_a_certificate_gets_nothing(nginx: str, server: Bootstrapper, tmp_path: Path) -> None:
    clients = Authority(tmp_path / "clients", "clients of the front")
    stranger = Authority(tmp_path / "stranger", "stranger")
    values = {
        "upstream": server.port,
        "server": server.server_pair,
        "clients": clients,
        "own": stranger.issue("clientAuth"),
        "authority": server.authority,
    }
    with Nginx(nginx, tmp_path, TERMINATING, **values) as front:
        status, body, _ = front.get(server.tls(clients.issue("clientAuth")))
    assert status == 502
    assert b"10.0.0.1" not in body
