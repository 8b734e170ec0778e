"""A tiny read-only Kubernetes API server on loopback, for the demo, the tests and the benchmarks.

It serves the objects it is given at the three paths the webhook reads, and misbehaves on request.
Plain HTTP: what the official client does with TLS is not ours to test.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

_EXTENSIONS = "/apis/extensions.gardener.cloud/v1alpha1"
PLURALS = {"Extension": "extensions", "Cluster": "clusters", "Secret": "secrets"}


class ApiServer:
    """Serves while entered as a context manager; all attributes may be changed meanwhile."""

    def __init__(self, *objects: Mapping[str, Any]) -> None:
        """Hold Extensions, Clusters and Secrets."""
        self.objects = {path_of(thing): thing for thing in objects}
        self.requests: Counter[str] = Counter()
        """How often each path was asked for."""
        self.statuses: dict[str, int] = {}
        """By path: the HTTP status to fail with."""
        self.raw: dict[str, bytes] = {}
        """By path: bytes to answer with in place of the object."""
        self.hanging: set[str] = set()
        """Paths that get no answer before the server ends or ``resume`` is set."""
        self.resume = threading.Event()
        self.arrived = threading.Event()
        """Set by every request."""
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                status, body = server._answer(self.path)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
                pass

        self._http = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._http.server_port}"

    def write_kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig file that leads here, and return its path."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "demo", "cluster": {"server": self.url}}],
            "users": [{"name": "demo", "user": {"token": "demo"}}],
            "contexts": [{"name": "demo", "context": {"cluster": "demo", "user": "demo"}}],
            "current-context": "demo",
        }
        path.write_text(json.dumps(config))
        return path

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.resume.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _answer(self, path: str) -> tuple[int, bytes]:
        self.requests[path] += 1
        self.arrived.set()
        if path in self.hanging:
            self.resume.wait()
        if path in self.raw:
            return 200, self.raw[path]
        status = self.statuses.get(path, 200)
        if status == 200 and path in ("/version", "/readyz"):
            return 200, b'{"major": "1", "minor": "34"}'
        if status == 200 and path in self.objects:
            return 200, json.dumps(self.objects[path]).encode()
        status = 404 if status == 200 else status
        failure = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status}
        return status, json.dumps(failure | {"message": f"{path} answers {status}"}).encode()


def path_of(thing: Mapping[str, Any]) -> str:
    """Return the path at which an API server has an Extension, a Cluster or a Secret."""
    metadata = thing["metadata"]
    base = "/api/v1" if thing["kind"] == "Secret" else _EXTENSIONS
    if namespace := metadata.get("namespace"):
        base += f"/namespaces/{namespace}"
    return f"{base}/{PLURALS[thing['kind']]}/{metadata['name']}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that gave up."""
