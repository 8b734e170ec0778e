"""The API server over HTTP, and what can be made to go wrong with it."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from tests.apiserver.handler import Handler
from tests.apiserver.resources import STANDARD, Resource, Resources
from tests.apiserver.status import RefusedError
from tests.apiserver.store import Object, Store


@dataclass(frozen=True, slots=True)
class Request:
    """A request that has come in."""

    verb: str
    """As RBAC has it: get, list, watch, create, update, patch, delete, deletecollection; or the HTTP method
    for paths that are no objects."""
    path: str
    query: Mapping[str, str]
    token: str
    """The bearer token."""


@dataclass(slots=True)
class Orders:
    """What a watch is to do beside its work."""

    cut: bool = False
    expire: bool = False
    bookmark: bool = False
    raw: bytes = b""

    def __bool__(self) -> bool:
        return self.cut or self.expire or self.bookmark or bool(self.raw)

    def take(self) -> Orders:
        """Return the orders and have none."""
        given = Orders(self.cut, self.expire, self.bookmark, self.raw)
        self.cut, self.expire, self.bookmark, self.raw = False, False, False, b""
        return given


@dataclass(slots=True)
class _Fault:
    verb: str
    plural: str
    status: int
    times: int

    def hits(self, request: Request) -> bool:
        return self.times > 0 and self.verb == request.verb and f"/{self.plural}" in request.path


class ApiServer:
    """Serves while entered as a context manager.

    ``stop`` and ``start`` make it go away and come back at the same port, with all its objects.
    """

    def __init__(
        self,
        *things: Object,
        resources: Iterable[Resource] = (),
        tls: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> None:
        """Hold objects of the standard resources and of others."""
        self.resources = Resources([*STANDARD, *resources])
        self.store = Store()
        self.tokens: set[str] | None = None
        """The bearer tokens that are let in; None for everybody."""
        self.logs: dict[str, str] = {}
        """What ``kubectl logs`` shows of a pod, by its name."""
        self.requests: list[Request] = []
        """All that have come in, oldest first."""
        self._faults: list[_Fault] = []
        self._tls = tls
        self._port = port
        self._listener: Listener | None = None
        for thing in things:
            self.create(thing)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    @property
    def watches(self) -> int:
        """How many watches there are."""
        return len(self._running.watches)

    def create(self, thing: Object) -> Object:
        """Add an object."""
        return self.store.create(self.resources.of(thing), thing["metadata"].get("namespace"), thing)

    def write_kubeconfig(self, path: Path, **user: str) -> Path:
        """Write a kubeconfig file that leads here, and return its path.

        Args:
            path: of the file.
            user: how its user authenticates, such as ``token`` or ``tokenFile``.
        """
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": self.url}}],
            "users": [{"name": "test", "user": user or {"token": "test"}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        }
        path.write_text(json.dumps(config))
        return path

    def fail(self, verb: str, plural: str, status: int, *, times: int = 1) -> None:
        """Answer the next requests of a kind with a status; 0 closes the connection without an answer."""
        self._faults.append(_Fault(verb, plural, status, times))

    def expire(self) -> None:
        """Forget all older resource versions; watches that go on are told, and lists cannot be continued."""
        with self.store.changed:
            self.store.compact()
            for orders in self._running.watches.values():
                orders.expire = True
            self.store.changed.notify_all()

    def bookmark(self) -> None:
        """Send a bookmark to every watch that allows it."""
        with self.store.changed:
            for orders in self._running.watches.values():
                orders.bookmark = True
            self.store.changed.notify_all()

    def spoil_watches(self, data: bytes) -> None:
        """Send bytes of no meaning, or of half a meaning, on every watch."""
        with self.store.changed:
            for orders in self._running.watches.values():
                orders.raw += data
            self.store.changed.notify_all()

    def break_watches(self) -> None:
        """Cut every connection that a watch uses, in the middle of the stream."""
        with self.store.changed:
            for orders in self._running.watches.values():
                orders.cut = True
            self.store.changed.notify_all()

    def count(self) -> Counter[str]:
        """Count the requests by verb."""
        return Counter(request.verb for request in self.requests)

    def start(self) -> None:
        """Listen, at the port of last time."""
        self._listener = Listener(("127.0.0.1", self._port), self)
        if self._tls:
            self._listener.socket = self._tls.wrap_socket(self._listener.socket, server_side=True)
        self._port = self._listener.server_port
        threading.Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Close the port and every connection."""
        listener, self._listener = self._running, None
        listener.shutdown()
        listener.server_close()
        listener.stopped.set()
        for client in list(listener.clients):
            _cut(client)
        with self.store.changed:
            self.store.changed.notify_all()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._listener is not None:
            self.stop()

    def admit(self, verb: str, path: str, query: Mapping[str, str], authorization: str) -> None:
        """Record a request, and refuse it if that was asked for.

        Raises:
            RefusedError: so.
            ConnectionAbortedError: the connection is to be closed without an answer.
        """
        scheme, _, credentials = authorization.partition(" ")
        token = credentials if scheme.lower() == "bearer" else ""
        request = Request(verb, path, query, token)
        self.requests.append(request)
        for fault in self._faults:
            if fault.hits(request):
                fault.times -= 1
                if not fault.status:
                    raise ConnectionAbortedError
                raise RefusedError(fault.status, "as asked for")
        if self.tokens is not None and request.token not in self.tokens:
            raise RefusedError(401, "Unauthorized")

    @property
    def _running(self) -> Listener:
        assert self._listener is not None, "the server is not running"
        return self._listener


class Listener(ThreadingHTTPServer):
    """The port and its connections, from a start to a stop."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], api: ApiServer) -> None:
        self.api = api
        self.stopped = threading.Event()
        self.clients: set[socket.socket] = set()
        self.watches: dict[socket.socket, Orders] = {}
        super().__init__(address, Handler)

    @contextlib.contextmanager
    def watching(self, client: socket.socket) -> Iterator[Orders]:
        """Know a connection as one that a watch uses."""
        orders = Orders()
        with self.api.store.changed:
            self.watches[client] = orders
        try:
            yield orders
        finally:
            with self.api.store.changed:
                del self.watches[client]

    def process_request(self, request: Any, client_address: Any) -> None:
        self.clients.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.clients.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that gave up."""


def _cut(client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)
