"""What is counted and logged of requests."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus

import pytest

from daemon.http.limits import Limits
from daemon.http.message import Response
from daemon.registry.credentials import Credentials
from tests.daemon.http.wire import Client, Gate, WatchfulGate, event
from tests.daemon.registry.alpine import BLOB, BY_DIGEST, IMAGE, LAYER, PATHS
from tests.daemon.registry.file_store import FileStore
from tests.daemon.registry.node import running
from tests.daemon.store.memory import MemoryStore


async def test_refused_connections_are_counted_by_reason() -> None:
    name = "spegel_refused_connections_total"
    async with running(MemoryStore(), Limits(client_connections=1)) as node:
        assert [node.figure(name, reason=reason) for reason in ("client", "remote", "all")] == [0, 0, 0]
        async with await Client.adopted(node.server, "10.0.0.1") as first:
            first.send(b"GET ")
            async with await Client.adopted(node.server, "10.0.0.1") as second:
                assert await second.rest() == b""
        assert [node.figure(name, reason=reason) for reason in ("client", "remote", "all")] == [1, 0, 0]


async def test_metrics(store: FileStore) -> None:
    gate = Gate(b"x", b"y")
    absent = "sha256:" + "2" * 64
    async with running(store) as node:
        node.peers.have[absent] = lambda _: Response(HTTPStatus.OK, body=gate, attributes={"source": "peer"})
        await node.ask(BY_DIGEST)
        await node.ask(BY_DIGEST, method="HEAD")
        await node.ask(BLOB)
        await node.ask(BLOB, "Range: bytes=0-9")
        await node.ask("/v2/nonsense")
        await node.ask("/readyz")
        await node.ask("/nonsense")
        await node.ask("/v2/", method="BREW")
        async with await Client.connect(node.server.port) as client:
            client.ask(f"/v2/a/blobs/{absent}?ns=quay.io")
            await event(gate.waiting)
            assert node.figure("http_requests_inflight", handler="/v2/*") == 1
            gate.opened.set()
            await client.reply()

        def count(handler: str, method: str, code: str) -> float | None:
            labels = {"handler": handler, "method": method, "code": code}
            duration = node.figure("http_request_duration_seconds_count", **labels)
            assert duration == node.figure("http_response_size_bytes_count", **labels)
            return duration

        assert count("/v2/*", "GET", "200") == 3
        assert count("/v2/*", "HEAD", "200") == 1
        assert count("/v2/*", "GET", "206") == 1
        assert count("/v2/*", "GET", "404") == 1
        assert count("/readyz", "GET", "200") == 1
        assert count("other", "GET", "404") == 1
        assert count("other", "other", "405") == 1
        sent = len(IMAGE.blobs[IMAGE.index]) + len(IMAGE.blobs[LAYER]) + 10
        assert node.figure("spegel_served_bytes_total", registry="docker.io", source="local") == sent
        # What peers sent is counted by the mirror, which knows it while it goes.
        assert node.figure("spegel_served_bytes_total", registry="quay.io", source="peer") is None
        size = node.figure("http_response_size_bytes_sum", handler="/v2/*", method="HEAD", code="200")
        assert size == 0


async def test_strangers_cannot_grow_the_metrics(store: FileStore) -> None:
    async with running(store) as node, await Client.connect(node.server.port) as client:
        for number in range(200):
            await client.get(f"/v2/a/blobs/{LAYER}?ns=r{number}.example.com")
            await client.get(f"/{number}")
        names = {
            sample.labels["registry"]
            for family in node.metrics.registry.collect()
            for sample in family.samples
            if sample.name == "spegel_served_bytes_total"
        }
        assert len(names) < 100


async def test_every_request_is_logged_at_debug(store: FileStore, caplog: pytest.LogCaptureFixture) -> None:
    credentials = Credentials("spegel", "secret")
    with caplog.at_level(logging.DEBUG, logger="daemon.registry.observer"):
        async with running(store, credentials=credentials) as node:
            await node.ask(f"{BLOB}&token=abc", f"Authorization: {credentials.header}", "Range: bytes=0-9")
            await node.ask("/v2/", method="POST")
    answered, refused = (record for record in caplog.records if record.name == "daemon.registry.observer")
    fields = ("handler", "method", "path", "status", "bytes", "registry", "source", "ip")
    assert {name: getattr(answered, name) for name in fields} == {
        "handler": "blob",
        "method": "GET",
        "path": BLOB.partition("?")[0],
        "status": 206,
        "bytes": 10,
        "registry": "docker.io",
        "source": "local",
        "ip": "127.0.0.1",
    }
    assert answered.duration >= 0  # type: ignore[attr-defined]
    assert (refused.status, refused.ip) == (405, "127.0.0.1")  # type: ignore[attr-defined]
    for record in (answered, refused):
        json.dumps({name: value for name, value in vars(record).items() if name != "exc_info"})
        assert "secret" not in str(vars(record))
        assert credentials.header[6:] not in str(vars(record))
        assert "abc" not in str(vars(record))


async def test_what_was_sent_before_a_cut_is_logged(
    store: FileStore, caplog: pytest.LogCaptureFixture
) -> None:
    absent = "sha256:" + "2" * 64
    gate = WatchfulGate(b"x" * 1000, b"y" * 1000)
    with caplog.at_level(logging.DEBUG, logger="daemon.registry.observer"):
        async with running(store) as node:
            node.peers.have[absent] = lambda _: Response(HTTPStatus.OK, body=gate)
            async with await Client.connect(node.server.port) as client:
                client.ask(f"/v2/a/blobs/{absent}?ns=quay.io")
                await event(gate.waiting)
            await event(gate.released)
    (record,) = (record for record in caplog.records if record.name == "daemon.registry.observer")
    assert (record.message, record.bytes) == ("request cut", 1000)  # type: ignore[attr-defined]


async def test_no_log_no_work_at_info(store: FileStore, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with running(store) as node:
            for path in PATHS:
                await node.ask(path)
    assert [record for record in caplog.records if record.name.startswith("daemon")] == []
