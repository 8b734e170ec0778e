"""An API server with nothing but nodes, as large as real ones: it lists them in pages and sends heartbeats.

It runs in a process of its own, so that it does not share a lock with clients that are measured.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import multiprocessing
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

_IMAGES = 40
_HEARTBEAT_SECONDS = 300  # of a node: what kubelets do when nothing changes


def node(number: int, version: int) -> dict[str, Any]:
    """Return a Node of about 12 KB."""
    name = f"shoot--project--cluster-worker-z{number % 3}-{number:05}"
    repositories = [f"registry.example.com/group/image-{image}" for image in range(_IMAGES)]
    images = [
        {
            "names": [f"{repository}@sha256:{image:064x}", f"{repository}:v1.{image}.0"],
            "sizeBytes": image << 20,
        }
        for image, repository in enumerate(repositories)
    ]
    conditions = [
        {"type": kind, "status": status, "lastHeartbeatTime": f"2026-01-01T00:00:{version % 60:02}Z",
         "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "Kubelet", "message": "as the kubelet says"}
        for kind, status in (("MemoryPressure", "False"), ("DiskPressure", "False"), ("Ready", "True"))
    ]  # fmt: skip
    return {
        "metadata": {
            "name": name,
            "uid": f"{number:08x}-0000-4000-8000-000000000000",
            "resourceVersion": str(version),
            "creationTimestamp": f"2026-01-{1 + number % 28:02}T00:00:00Z",
            "labels": {"topology.kubernetes.io/zone": f"region-1{'abc'[number % 3]}"}
            | {f"example.com/label-{label}": "value" for label in range(20)},
            "annotations": {f"example.com/annotation-{label}": "x" * 80 for label in range(15)},
        },
        "spec": {"podCIDR": f"100.{number >> 8}.{number & 255}.0/24", "providerID": f"provider:///{name}"},
        "status": {
            "addresses": [
                {
                    "type": "InternalIP",
                    "address": f"10.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}",
                },
                {"type": "Hostname", "address": name},
            ],
            "conditions": conditions,
            "images": images,
        },
    }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    count: int

    def do_GET(self) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        if "watch" in query:
            self._watch()
            return
        start = int(query.get("continue", 0))
        end = min(self.count, start + int(query.get("limit", self.count)))
        metadata = {"resourceVersion": "1"} | ({"continue": str(end)} if end < self.count else {})
        body = json.dumps({"metadata": metadata, "items": [node(number, 1) for number in range(start, end)]})
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def _watch(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            for version in itertools.count(2):
                time.sleep(_HEARTBEAT_SECONDS / self.count)
                event = {"type": "MODIFIED", "object": node(version % self.count, version)}
                line = json.dumps(event).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


def _serve(count: int, port: Any) -> None:
    _Handler.count = count
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    port.send(server.server_port)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


@contextlib.contextmanager
def api_server(count: int, directory: Path) -> Iterator[Path]:
    """Run it while entered; gives a kubeconfig."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(count, theirs), daemon=True)
    process.start()
    try:
        config = {
            "clusters": [{"name": "one", "cluster": {"server": f"http://127.0.0.1:{ours.recv()}"}}],
            "users": [{"name": "one", "user": {"token": "token"}}],
            "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
            "current-context": "one",
        }
        path = directory / "kubeconfig"
        path.write_text(json.dumps(config))
        yield path
    finally:
        process.kill()
        process.join()
