"""The registry's own decisions: when the store fails, who may ask, what is given away."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from pathlib import Path

import pytest

from daemon.http.bucket import TokenBucket
from daemon.http.message import Response
from daemon.mirror import UnsatisfiableError, Wanted
from daemon.oci.descriptor import OCI_INDEX
from daemon.oci.digest import Digest
from daemon.oci.filters import parse_filters
from daemon.registry.credentials import Credentials
from daemon.registry.origins import Origins
from daemon.store.base import Event, EventKind
from tests.daemon.http.wire import Client
from tests.daemon.images import make_image
from tests.daemon.registry.alpine import BLOB, BY_DIGEST, BY_TAG, IMAGE, LAYER, NAME, PATHS
from tests.daemon.registry.file_store import FileStore
from tests.daemon.registry.node import Node, error_code, running
from tests.daemon.registry.test_facts import document
from tests.daemon.store.memory import MemoryStore
from tests.virtual_time import now, virtual_time

MIRRORED = "X-Spegel-Mirrored: true"


def relayed(body: bytes) -> Response:
    return Response(HTTPStatus.OK, (("Content-Type", "x/y"),), body, attributes={"source": "peer"})


async def test_readiness_and_liveness(store: FileStore) -> None:
    async with running(store) as node:
        node.ready = False
        reply = await node.ask("/readyz")
        assert (reply.status, error_code(reply)) == (500, "UNKNOWN")
        assert (await node.ask("/readyz", method="HEAD")).status == 500
        for path in ("/", "/livez", "/v2/", BY_DIGEST):
            assert (await node.ask(path)).status == 200


@virtual_time
async def test_a_router_that_does_not_answer_is_not_ready() -> None:
    async def hang() -> bool:
        await asyncio.Event().wait()
        raise AssertionError

    async with running(MemoryStore()) as node:
        node.server._service.handler._ready = hang  # type: ignore[attr-defined]
        reply = await node.ask("/readyz")
        assert (reply.status, error_code(reply)) == (500, "UNKNOWN")
        assert now() < 2


@pytest.mark.parametrize("path", PATHS)
async def test_a_store_that_fails_is_a_miss(
    store: FileStore, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    store.failing = True
    async with running(store) as node:
        for method in ("GET", "HEAD"):
            assert (await node.ask(path, method=method)).status == 404
        assert error_code(await node.ask(path)) in {"MANIFEST_UNKNOWN", "BLOB_UNKNOWN"}
        assert error_code(await node.ask(path, MIRRORED)) in {"MANIFEST_UNKNOWN", "BLOB_UNKNOWN"}
        assert len(node.peers.asked) == 3
        node.peers.have[node.peers.asked[0].key] = lambda _: relayed(b"from a peer")
        assert (await node.ask(path)).body == b"from a peer"
        kind = "blob" if path == BLOB else "manifest"
        assert node.figure("spegel_store_errors_total", operation=kind) == 5
        assert (await node.ask("/")).status == 200
    assert "out of order" in caplog.text


@pytest.mark.parametrize("path", [BLOB, BY_DIGEST])
async def test_what_the_store_lacks_is_asked_of_others_and_not_of_the_store(path: str) -> None:
    store = MemoryStore()
    async with running(store) as node:
        assert (await node.ask(path, MIRRORED)).status == 404
        assert node.peers.asked == []
        assert (await node.ask(path)).status == 404
        assert len(node.peers.asked) == 1
    assert store.calls == []


@pytest.mark.parametrize("path", PATHS)
@virtual_time
async def test_a_store_that_hangs_is_a_miss(path: str, caplog: pytest.LogCaptureFixture) -> None:
    class Hanging(MemoryStore):
        def lacks(self, digest: Digest) -> bool:
            return False

        async def resolve(self, name: str) -> Digest:
            await asyncio.Event().wait()
            raise AssertionError

        describe = resolve  # type: ignore[assignment]  # it hangs as well

    async with running(Hanging()) as node:
        reply = await node.ask(path)
        assert reply.status == 404
        first = now()
        assert first < 1.5
        assert (await node.ask(path)).status == 404
        assert now() - first < 0.5, "it is remembered"
        assert (await node.ask("/v2/")).status == 200
    assert "no answer in time" in caplog.text


@pytest.mark.parametrize("path", [BY_TAG, BY_DIGEST])
async def test_a_corrupt_manifest_is_never_sent(
    store: FileStore, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    data = IMAGE.blobs[IMAGE.index]
    store.path(IMAGE.index).write_bytes(data.replace(b"amd64", b"amd46"))
    async with running(store) as node:
        assert (await node.ask(path, MIRRORED)).status == 404
        assert (await node.ask(path, method="HEAD")).status == 404
        node.peers.have[node.peers.asked[0].key] = lambda _: relayed(data)
        assert (await node.ask(path)).body == data
    assert "does not match its digest" in caplog.text


async def test_a_tag_whose_manifest_is_gone_is_asked_of_others(store: FileStore) -> None:
    """A HEAD that says yes to what the GET then misses sends containerd round in circles."""
    store.collect(IMAGE)
    async with running(store) as node:
        for method in ("HEAD", "GET"):
            assert (await node.ask(BY_TAG, method=method)).status == 404
        assert [wanted.key for wanted in node.peers.asked] == [NAME, NAME]


async def test_a_blob_that_was_cut_short_is_a_miss(store: FileStore) -> None:
    async with running(store) as node:
        assert (await node.ask(BLOB)).status == 200
        with store.path(LAYER).open("r+b") as file:
            file.truncate(1000)
        for method in ("HEAD", "GET"):
            assert (await node.ask(BLOB, method=method)).status == 404
    assert store.still_open == 0


async def test_a_file_that_vanishes_between_description_and_opening(store: FileStore) -> None:
    async with running(store) as node:
        assert (await node.ask(BLOB, method="HEAD")).status == 200
        store.path(LAYER).unlink()
        assert (await node.ask(BLOB, method="HEAD")).status == 404
        assert (await node.ask(BLOB)).status == 404
        assert len(node.peers.asked) == 2


async def test_hot_content_costs_no_description(store: FileStore) -> None:
    async with running(store) as node, await Client.connect(node.server.port) as client:
        await client.get(BY_DIGEST)
        await client.get(BLOB)
        store.calls.clear()
        for _ in range(5):
            for method in ("HEAD", "GET"):
                await client.get(BY_DIGEST, method=method)
                await client.get(BLOB, method=method)
        assert store.calls == ["open"] * 10
        store.calls.clear()
        for _ in range(5):
            await client.get(BY_TAG)
        assert store.calls == ["resolve"]


async def test_a_tag_that_moves(store: FileStore) -> None:
    other = make_image(2)
    async with running(store) as node:
        assert (await node.ask(BY_TAG)).body == IMAGE.blobs[IMAGE.index]
        store.add(NAME, other)
        node.facts.observe(Event(EventKind.IMAGE_CHANGED, NAME))
        assert (await node.ask(BY_TAG)).headers["docker-content-digest"] == other.index


async def test_a_large_manifest_is_served_too(store: FileStore) -> None:
    digest, data = document(1, 1_000_000)
    store.add_content(digest, data)
    path = f"/v2/library/alpine/manifests/{digest}"
    async with running(store) as node:
        for _ in range(2):
            reply = await node.ask(path, "Range: bytes=0-9")
            assert (reply.status, reply.body, reply.headers["content-type"]) == (200, data, OCI_INDEX)
            head = await node.ask(path, method="HEAD")
            assert (head.status, head.headers["content-length"]) == (200, str(len(data)))
    assert store.still_open == 0


async def test_a_media_type_from_an_image_cannot_add_fields(store: FileStore) -> None:
    hostile = "application/x\r\nX-Spegel-Mirrored: true"
    data = json.dumps({"schemaVersion": 2, "mediaType": hostile, "layers": [], "config": {}}).encode()
    digest = Digest("sha256:" + "1" * 64)
    store.add_content(digest, data)
    async with running(store) as node:
        reply = await node.ask(f"/v2/a/blobs/{digest}", MIRRORED)
        assert "x-spegel-mirrored" not in reply.headers


@pytest.mark.parametrize("value", ["TRUE", "True", "1", "yes", " ", "true, true"])
async def test_only_true_marks_a_peers_question(store: FileStore, value: str) -> None:
    async with running(store) as node:
        await node.ask("/v2/a/manifests/1?ns=quay.io", f"X-Spegel-Mirrored: {value}")
        assert len(node.peers.asked) == 1


async def test_what_is_filtered_out_is_neither_served_nor_asked_for(store: FileStore) -> None:
    filters = parse_filters(["https://docker.io"], [r"library/secret", r":latest$"])
    store.add("docker.io/library/secret:1", IMAGE)
    store.add("docker.io/library/alpine:latest", IMAGE)
    store.add("quay.io/library/alpine:3.20", IMAGE)
    async with running(store, filters=filters) as node:
        assert (await node.ask(BY_TAG)).status == 200
        for path in (
            "/v2/library/secret/manifests/1?ns=docker.io",
            f"/v2/library/secret/blobs/{LAYER}?ns=docker.io",
            "/v2/library/alpine/manifests/latest?ns=docker.io",
            "/v2/library/alpine/manifests/3.20?ns=quay.io",
            f"/v2/library/alpine/manifests/{IMAGE.index}?ns=quay.io",
        ):
            for fields in ((), (MIRRORED,)):
                reply = await node.ask(path, *fields)
                assert (reply.status, error_code(reply)) in {(404, "MANIFEST_UNKNOWN"), (404, "BLOB_UNKNOWN")}
        assert node.peers.asked == []


async def test_what_is_filtered_out_is_not_to_be_had_under_another_name(store: FileStore) -> None:
    filters = parse_filters([], [r"/secret"])
    advertised: set[Digest] = set()
    origins = Origins(store, filters, advertised.__contains__)
    image = [f"manifests/{IMAGE.index}", f"manifests/{IMAGE.manifest}", f"blobs/{LAYER}"]

    async def answers(node: Node, suffix: str = "") -> set[int]:
        return {(await node.ask(f"/v2/any/name/{each}{suffix}", MIRRORED)).status for each in image}

    def note(*sources: str) -> None:
        for digest in IMAGE.blobs:
            store.labels[digest] = sources

    async with running(store, filters=filters, origins=origins) as node:
        assert (await node.ask(BY_TAG, MIRRORED)).status == 404, "nor by a tag whose digest is not given"
        assert await answers(node) == {404}, "where it is from is not known, or not yet"
        note("docker.io/team/secret")
        assert await answers(node) == {404}
        assert await answers(node, "?ns=docker.io") == {404}
        note("docker.io/team/secret", "docker.io/team/public")
        assert await answers(node) == {200}, "it is from a repository that passes as well"
        note("docker.io/team/secret")
        advertised.update(IMAGE.blobs)
        assert await answers(node) == {200}, "an image that passes has it as well"
        assert (await node.ask(BY_TAG, MIRRORED)).status == 200
        store.calls.clear()
        assert (await node.ask(f"/v2/any/manifests/{IMAGE.index}")).status == 200
        assert store.calls == [], "the store is not asked for what is advertised"


async def test_basic_authentication(store: FileStore) -> None:
    credentials = Credentials("spegel", "secret")
    async with running(store, credentials=credentials) as node:
        for path in ("/", "/livez", "/readyz"):
            assert (await node.ask(path)).status == 200, "probes have no credentials"
        for path in ("/v2", "/v2/", "/v2/nonsense", *PATHS):
            for fields in ((), ("Authorization: Basic c3BlZ2VsOndyb25n",), (MIRRORED,)):
                reply = await node.ask(path, *fields)
                assert (reply.status, error_code(reply)) == (401, "UNAUTHORIZED")
                # containerd would answer a challenge with the pull secret of the image's own registry.
                assert "www-authenticate" not in reply.headers
        assert store.calls == []
        for path in ("/v2", "/v2/", *PATHS):
            assert (await node.ask(path, f"Authorization: {credentials.header}")).status == 200


async def test_a_peers_answer_is_passed_on(store: FileStore) -> None:
    def answer(wanted: Wanted) -> Response:
        headers = (
            ("Content-Type", "x/y"),
            ("Docker-Content-Digest", wanted.key),
            ("Content-Range", "bytes 5-9/10"),
        )
        return Response(HTTPStatus.PARTIAL_CONTENT, headers, b"56789", attributes={"source": "peer"})

    absent = "sha256:" + "2" * 64
    async with running(store) as node:
        node.peers.have[absent] = answer
        reply = await node.ask(f"/v2/a/blobs/{absent}?ns=quay.io", "Range: bytes=5-")
        assert (reply.status, reply.body) == (206, b"56789")
        assert reply.headers["content-range"] == "bytes 5-9/10"
        assert reply.headers["docker-content-digest"] == absent


async def test_a_range_behind_the_end_of_what_others_have(store: FileStore) -> None:
    def refuse(_: Wanted) -> Response:
        raise UnsatisfiableError(77)

    absent = "sha256:" + "2" * 64
    async with running(store) as node:
        node.peers.have[absent] = refuse
        reply = await node.ask(f"/v2/a/blobs/{absent}?ns=quay.io", "Range: bytes=77-")
        assert (reply.status, reply.headers["content-range"]) == (416, "bytes */77")
        assert error_code(reply) == "RANGE_INVALID"


async def test_a_mirror_that_breaks_is_an_error_document(store: FileStore) -> None:
    def broken(_: Wanted) -> Response:
        raise ZeroDivisionError

    async with running(store) as node:
        node.peers.have[NAME.replace("3.20", "1")] = broken
        reply = await node.ask("/v2/library/alpine/manifests/1?ns=docker.io")
        assert (reply.status, error_code(reply)) == (500, "UNKNOWN")


async def test_a_client_that_leaves_releases_the_file_at_once(store: FileStore) -> None:
    big = Digest("sha256:" + "3" * 64)
    store.add_content(big, bytes(50_000_000))
    async with running(store) as node:
        client = await Client.connect(node.server.port)
        client.ask(f"/v2/a/blobs/{big}")
        await client.head()
        assert store.still_open == 1
        client.close()
        while store.still_open:
            await asyncio.sleep(0.001)


@virtual_time
async def test_the_cap_holds_for_other_nodes_only(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    blob = Digest("sha256:" + "4" * 64)
    store.add_content(blob, bytes(10_000_000))
    cap = TokenBucket(rate=1_000_000, burst=1_000_000)
    async with running(store, upload_cap=cap) as node:
        local = await Client.adopted(node.server, "127.0.0.1")
        assert len((await local.get(f"/v2/a/blobs/{blob}")).body) == 10_000_000
        assert now() < 1
        peers = [await Client.adopted(node.server, f"10.0.0.{number}") for number in range(2)]
        replies = await asyncio.gather(*[peer.get(f"/v2/a/blobs/{blob}", MIRRORED) for peer in peers])
        assert [len(reply.body) for reply in replies] == [10_000_000] * 2
        assert now() == pytest.approx(19, abs=1)
        for client in (local, *peers):
            client.close()
