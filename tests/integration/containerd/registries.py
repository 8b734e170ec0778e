"""Registries on loopback that write down, in one book, what containerd asks them for."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.integration.containerd.image import new_image

RESOURCE = re.compile(r".*/(?:manifests|blobs)/([^/]+)")


@dataclass(frozen=True)
class Request:
    """One request: by whom it was answered, and what for."""

    registry: str
    path: str
    namespace: str | None
    """The registry that the image's name begins with, where that is another one than asked."""

    @property
    def resource(self) -> str:
        """The tag or digest asked for."""
        match = RESOURCE.fullmatch(self.path)
        return match[1] if match else self.path


class Registries:
    """Registries that hold one and the same image, or answer with an error."""

    def __init__(self) -> None:
        self.image = new_image()
        self.book: list[Request] = []
        self._lock = threading.Lock()
        self._servers: list[tuple[ThreadingHTTPServer, threading.Thread]] = []
        self._sockets: list[socket.socket] = []

    def start(self, name: str, *, status: int = 200, certificate: Path | None = None) -> int:
        """Start a registry and return its port.

        Args:
            name: how the book calls it.
            status: what it answers with; 200 is the image, all else an error.
            certificate: file with a certificate and its key: the registry speaks TLS.
        """
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(name, status))
        server.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        self._servers.append((server, thread))
        return int(server.server_address[1])

    def closed_port(self) -> int:
        """Reserve a port at which connections are refused."""
        closed = socket.socket()
        closed.bind(("127.0.0.1", 0))
        self._sockets.append(closed)
        return int(closed.getsockname()[1])

    def stop(self) -> None:
        for server, thread in self._servers:
            server.shutdown()
            thread.join()
            server.server_close()
        for closed in self._sockets:
            closed.close()

    def asked(self) -> dict[str, list[str]]:
        """Return who was asked for each tag or digest, in order; and forget it."""
        with self._lock:
            book, self.book = self.book, []
        asked: dict[str, list[str]] = {}
        for request in book:
            asked.setdefault(request.resource, []).append(request.registry)
        return asked

    def renew_image(self) -> None:
        """From now on the registries hold an image that no containerd has seen."""
        self.image = new_image()

    def _handler(self, name: str, status: int) -> type[BaseHTTPRequestHandler]:
        registries = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # containerd 2 tries TLS first where no scheme is given, and then HTTP, if that is what answers.
            default_request_version = protocol_version
            disable_nagle_algorithm = True

            def do_HEAD(self) -> None:
                self.answer()

            def do_GET(self) -> None:
                self.answer()

            def answer(self) -> None:
                url = urlsplit(self.path)
                request = Request(name, url.path, parse_qs(url.query).get("ns", [None])[0])
                with registries._lock:
                    registries.book.append(request)
                found = registries.image.find(request.resource)
                if status != 200 or found is None:
                    self.send_response(status if status != 200 else 404)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                digest, media_type, content = found
                self.send_response(200)
                self.send_header("Content-Type", media_type)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Docker-Content-Digest", digest)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
                """Keep the test's output readable."""

        return Handler
