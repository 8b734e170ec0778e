"""The bootstrapper as a process, with its certificates and its log."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tests.bootstrapper.authority import Authority, Pair

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0
"""Seconds after which a test gives up; nothing that works takes that long."""
_LISTENING = re.compile(r"Listening at: https?://127\.0\.0\.1:(\d+) http://127\.0\.0\.1:(\d+)")


class Bootstrapper:
    """Runs while entered; settings may be chosen before."""

    def __init__(self, directory: Path, **settings: object) -> None:
        self.directory = directory
        self.authority = Authority(directory / "authority", "test authority")
        self.server_pair = self.authority.issue("serverAuth")
        self.client = self.authority.issue("clientAuth")
        self.certificate, self.key = directory / "tls.crt", directory / "tls.key"
        self.authorities = directory / "ca.crt"
        self.renew(self.server_pair, self.authority)
        self.settings = settings
        self.log: list[str] = []

    def renew(self, pair: Pair, *authorities: Authority) -> None:
        """Write certificate, key and authorities, one file after the other."""
        shutil.copy(pair.certificate, self.certificate)
        shutil.copy(pair.key, self.key)
        self.trust(*authorities)

    def trust(self, *authorities: Authority) -> None:
        """Write the bundle of the clients' authorities."""
        new = self.directory / "ca.new"
        new.write_bytes(b"".join(authority.certificate.read_bytes() for authority in authorities))
        new.replace(self.authorities)

    def command(self) -> tuple[list[str], dict[str, str]]:
        """Return command and environment."""
        settings = {
            "address": "127.0.0.1",
            "port": 0,
            "probe_port": 0,
            "tls_certificate": self.certificate,
            "tls_key": self.key,
            "client_authorities": self.authorities,
        } | self.settings
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("BOOTSTRAPPER_")
        }
        environment |= {
            f"BOOTSTRAPPER_{name.upper()}": str(value)
            for name, value in settings.items()
            if value is not None
        }
        return [sys.executable, "-m", "bootstrapper", "serve"], environment

    def __enter__(self) -> Self:
        command, environment = self.command()
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
        self._grown = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        try:
            found = _LISTENING.search(self.wait_for("Listening at: "))
            assert found
            self.port, self.probe_port = int(found[1]), int(found[2])
            self.wait_until(lambda: self.probe("/healthz") == (200, b"ok\n"))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self._reader.join()
            assert self.process.stderr is not None
            self.process.stderr.close()

    def wait_for(self, text: str) -> str:
        """The first line of the log with a text in it."""
        with self._grown:
            found = self._grown.wait_for(
                lambda: [line for line in self.log if text in line] or self.process.poll() is not None,
                PATIENCE,
            )
        assert isinstance(found, list), f"no {text!r} in:\n{''.join(self.log)}"
        return str(found[0])

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Ask again and again until something is so."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"it did not come about; the log:\n{''.join(self.log)}"
            assert self.process.poll() is None, "".join(self.log)
            time.sleep(0.02)

    def wait_until_ready(self) -> None:
        """Wait until the nodes have been read."""
        self.wait_until(lambda: self.probe("/readyz")[0] == 200)

    def tls(self, client: Pair | None = None) -> ssl.SSLContext:
        """A client's context, by default with a certificate that is good."""
        context = ssl.create_default_context(cafile=self.authority.certificate)
        pair = client or self.client
        context.load_cert_chain(pair.certificate, pair.key)
        return context

    def connect(self, context: ssl.SSLContext | None = None) -> http.client.HTTPSConnection:
        context = context or self.tls()
        return http.client.HTTPSConnection("localhost", self.port, context=context, timeout=PATIENCE)

    def get(
        self, path: str, context: ssl.SSLContext | None = None, **headers: str
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        connection = self.connect(context)
        try:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request("GET", path, headers=names)
            response = connection.getresponse()
            return response.status, response.read(), response.headers
        finally:
            connection.close()

    def nodes(self) -> list[dict[str, Any]]:
        status, body, _ = self.get("/bootstrap-nodes")
        assert status == 200, body
        nodes: list[dict[str, Any]] = json.loads(body)
        return nodes

    def addresses(self) -> list[str]:
        return [node["IP"] for node in self.nodes()]

    def probe(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.probe_port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def figure(self, name: str) -> float:
        """A figure by its name and labels, without the prefix; 0 when there is none."""
        _, text = self.probe("/metrics")
        found = re.search(
            rf"^registry_spegel_bootstrapper_{re.escape(name)} (\S+)$", text.decode(), re.MULTILINE
        )
        return float(found[1]) if found else 0.0

    def refused(self, reason: str) -> float:
        return self.figure(f'refused_connections_total{{reason="{reason}"}}')

    def workers(self) -> list[int]:
        """The processes that answer."""
        process = self.process.pid
        return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._grown:
                self.log.append(line)
                self._grown.notify_all()
        with self._grown:
            self._grown.notify_all()
