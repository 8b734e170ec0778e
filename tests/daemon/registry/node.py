"""A registry behind its server, on real sockets, with doubles for what is around it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from daemon.http.limits import Limits
from daemon.http.message import Response
from daemon.http.server import Server
from daemon.metrics import Metrics
from daemon.mirror import Wanted
from daemon.oci.errors import ErrorCode, OciError
from daemon.registry.facts import Facts
from daemon.registry.handler import Registry
from daemon.registry.observer import RequestObserver
from daemon.store.base import Store
from tests.daemon.http.wire import Client, Reply


class Peers:
    """Other nodes: what they have by key; what they do not have is a miss."""

    def __init__(self) -> None:
        self.asked: list[Wanted] = []
        self.have: dict[str, Callable[[Wanted], Response]] = {}

    async def fetch(self, wanted: Wanted) -> Response:
        self.asked.append(wanted)
        if wanted.key in self.have:
            return self.have[wanted.key](wanted)
        code = ErrorCode.MANIFEST_UNKNOWN if wanted.kind == "manifest" else ErrorCode.BLOB_UNKNOWN
        raise OciError(HTTPStatus.NOT_FOUND, code, f"no peer has {wanted.key}", {"attempts": 0})


@dataclass
class Node:
    server: Server
    facts: Facts
    peers: Peers
    metrics: Metrics
    ready: bool = True

    async def ask(self, path: str, *fields: str, method: str = "GET") -> Reply:
        """Ask on a connection of its own."""
        async with await Client.connect(self.server.port) as client:
            return await client.get(path, *fields, method=method)

    def figure(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@asynccontextmanager
async def running(store: Store, limits: Limits | None = None, **options: Any) -> AsyncIterator[Node]:
    """Run a node; at the end nothing may be left of it."""
    metrics, peers, facts = Metrics("test"), Peers(), Facts(store)

    async def ready() -> bool:
        return node.ready

    registry = Registry(store, facts, peers, metrics, **{"ready": ready, **options})
    server = Server(registry, RequestObserver(metrics), limits)
    node = Node(server, facts, peers, metrics)
    server.listen("127.0.0.1:0")
    try:
        yield node
    finally:
        await server.drain(0)
        facts.clear()
        assert server.connections == 0
        for family in metrics.registry.collect():
            if family.name == "http_requests_inflight":
                assert all(sample.value == 0 for sample in family.samples)


def error_code(reply: Reply) -> str:
    """Return the code of an error document, which has to be one."""
    assert reply.headers["content-type"] == "application/json"
    document = json.loads(reply.body)
    assert document.keys() == {"errors"}
    (error,) = document["errors"]
    assert error.keys() <= {"code", "message", "detail"}
    assert error["message"]
    code: str = error["code"]
    return code
