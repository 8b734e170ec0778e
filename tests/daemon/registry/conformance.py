"""The pull part of the OCI distribution specification, and what upstream adds to it, for any store.

A test module derives a class from `RegistryConformance` and brings the fixture ``harness`` of the stores' own
suite.
"""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from daemon.mirror import Wanted
from daemon.oci.descriptor import OCI_INDEX, OCI_MANIFEST
from tests.daemon.http.wire import Client, Reply
from tests.daemon.images import make_image
from tests.daemon.registry.node import error_code, running
from tests.daemon.store.conformance import ALPINE, Harness

IMAGE = make_image(1, layers=2, size=300_000)
LAYER = IMAGE.blobs[IMAGE.layers[0]]
SIZE = len(LAYER)
OTHER = "localhost:5000/a.b/c--d/e__f:V1.0-x_y"
ABSENT = "sha256:" + "0" * 64
PLACES = {
    "{index}": IMAGE.index,
    "{manifest}": IMAGE.manifest,
    "{config}": IMAGE.config,
    "{layer}": IMAGE.layers[0],
    "{absent}": ABSENT,
}
MIRRORED = "X-Spegel-Mirrored: true"

FOUND = [
    # path, media type (None: the store's own), content
    ("/v2/library/alpine/manifests/3.20?ns=docker.io", OCI_INDEX, IMAGE.index),
    ("/v2/library/alpine/manifests/{index}?ns=docker.io", OCI_INDEX, IMAGE.index),
    ("/v2/library/alpine/manifests/{manifest}?ns=docker.io", OCI_MANIFEST, IMAGE.manifest),
    ("/v2/library/alpine/manifests/{manifest}", OCI_MANIFEST, IMAGE.manifest),
    ("/v2/library/alpine/blobs/{config}?ns=docker.io", None, IMAGE.config),
    ("/v2/library/alpine/blobs/{layer}?ns=docker.io", None, IMAGE.layers[0]),
    ("/v2/library/alpine/blobs/{layer}", None, IMAGE.layers[0]),
    (
        "/v2/library/alpine/blobs/sha256%3A{layer}?ns=docker.io".replace(
            "sha256%3A{layer}", IMAGE.layers[0].replace(":", "%3A")
        ),
        None,
        IMAGE.layers[0],
    ),
    # containerd percent-encodes a port, upstream's peers do not
    ("/v2/a.b/c--d/e__f/manifests/V1.0-x_y?ns=localhost%3A5000", OCI_INDEX, IMAGE.index),
    ("/v2/a.b/c--d/e__f/manifests/V1.0-x_y?ns=localhost:5000", OCI_INDEX, IMAGE.index),
    # a repository's name may hold the words of the API
    ("/v2/manifests/blobs/manifests/{index}?ns=docker.io", OCI_INDEX, IMAGE.index),
]

NOT_FOUND = [
    # path, code, whether other nodes are asked
    ("/v2/library/alpine/manifests/3.21?ns=docker.io", "MANIFEST_UNKNOWN", True),
    ("/v2/library/alpine/manifests/3.20?ns=quay.io", "MANIFEST_UNKNOWN", True),
    ("/v2/alpine/manifests/3.20?ns=docker.io", "MANIFEST_UNKNOWN", True),
    ("/v2/library/alpine/manifests/{absent}?ns=docker.io", "MANIFEST_UNKNOWN", True),
    ("/v2/library/alpine/manifests/{absent}", "MANIFEST_UNKNOWN", True),
    ("/v2/library/alpine/blobs/{absent}?ns=docker.io", "BLOB_UNKNOWN", True),
    # there, but of the other kind
    ("/v2/library/alpine/blobs/{index}?ns=docker.io", "BLOB_UNKNOWN", False),
    ("/v2/library/alpine/manifests/{layer}?ns=docker.io", "MANIFEST_UNKNOWN", False),
    ("/v2/library/alpine/manifests/{config}?ns=docker.io", "MANIFEST_UNKNOWN", False),
    # malformed
    ("/v2/library/alpine/manifests/3.20", "NAME_UNKNOWN", False),
    ("/v2/library/alpine/manifests/3.20?ns=", "NAME_UNKNOWN", False),
    ("/v2/library/alpine/manifests/3.20?ns=docker.io%2Fx", "NAME_INVALID", False),
    ("/v2/library/alpine/manifests/3.20?ns=user@docker.io", "NAME_INVALID", False),
    ("/v2/library/alpine/manifests/3.20?ns=docker.io:port", "NAME_INVALID", False),
    ("/v2/library/alpine/manifests/3.20?ns=%20docker.io", "NAME_INVALID", False),
    ("/v2/library/alpine/blobs/{layer}?ns=../x", "NAME_INVALID", False),
    ("/v2/library/alpine/manifests/.hidden?ns=docker.io", "MANIFEST_UNKNOWN", False),
    ("/v2/library/alpine/manifests/-x?ns=docker.io", "MANIFEST_UNKNOWN", False),
    ("/v2/library/alpine/manifests/?ns=docker.io", "MANIFEST_UNKNOWN", False),
    ("/v2/library/alpine/manifests/" + "x" * 129 + "?ns=docker.io", "MANIFEST_UNKNOWN", False),
    ("/v2/library/alpine/manifests/sha256:abc?ns=docker.io", "DIGEST_INVALID", False),
    ("/v2/library/alpine/manifests/" + ABSENT.upper() + "?ns=docker.io", "DIGEST_INVALID", False),
    ("/v2/library/alpine/manifests/{index}0?ns=docker.io", "DIGEST_INVALID", False),
    (
        "/v2/library/alpine/manifests/md5:d41d8cd98f00b204e9800998ecf8427e?ns=docker.io",
        "DIGEST_INVALID",
        False,
    ),
    ("/v2/library/alpine/blobs/3.20?ns=docker.io", "DIGEST_INVALID", False),
    ("/v2/library/alpine/blobs/sha256:..%2Fetc?ns=docker.io", "UNSUPPORTED", False),
    ("/v2/Library/alpine/manifests/3.20?ns=docker.io", "NAME_INVALID", False),
    ("/v2/library//alpine/manifests/3.20?ns=docker.io", "NAME_INVALID", False),
    ("/v2/library/alpine/manifests/3.20/?ns=docker.io", "UNSUPPORTED", False),
    ("/v2/-alpine/manifests/3.20?ns=docker.io", "NAME_INVALID", False),
    ("/v2/" + "a" * 256 + "/manifests/3.20?ns=docker.io", "NAME_INVALID", False),
    ("/v2/manifests/3.20?ns=docker.io", "UNSUPPORTED", False),
    ("/v2//manifests/3.20?ns=docker.io", "NAME_INVALID", False),
    # not of the pull part, or not of the API
    ("/v2/library/alpine/tags/list?ns=docker.io", "UNSUPPORTED", False),
    ("/v2/library/alpine/referrers/{index}?ns=docker.io", "UNSUPPORTED", False),
    ("/v2/library/alpine/blobs/uploads/?ns=docker.io", "UNSUPPORTED", False),
    ("/v2/_catalog", "UNSUPPORTED", False),
    ("/v2/x", "UNSUPPORTED", False),
    ("/v1/", "UNSUPPORTED", False),
    ("/v2x", "UNSUPPORTED", False),
    ("/V2/", "UNSUPPORTED", False),
    ("//v2/", "UNSUPPORTED", False),
    ("/healthz", "UNSUPPORTED", False),
    ("/metrics", "UNSUPPORTED", False),
    ("/readyz/", "UNSUPPORTED", False),
    ("/favicon.ico", "UNSUPPORTED", False),
]

RANGES = [
    # Range field, and the part that is answered: None is the whole, "unsatisfiable" status 416
    ("bytes=0-0", slice(0, 1)),
    ("bytes=0-99", slice(0, 100)),
    ("bytes=100-199", slice(100, 200)),
    ("bytes=100-", slice(100, SIZE)),
    ("bytes=0-", slice(0, SIZE)),
    (f"bytes={SIZE - 1}-", slice(SIZE - 1, SIZE)),
    (f"bytes={SIZE - 1}-{SIZE + 5}", slice(SIZE - 1, SIZE)),
    ("bytes=7-999999999999999999", slice(7, SIZE)),
    ("bytes=-1", slice(SIZE - 1, SIZE)),
    ("bytes=-500", slice(SIZE - 500, SIZE)),
    ("bytes=-999999999", slice(0, SIZE)),
    ("bytes= 5-9 ", slice(5, 10)),
    ("Bytes=5-9", slice(5, 10)),
    ("bytes=005-009", slice(5, 10)),
    (f"bytes={SIZE}-", "unsatisfiable"),
    (f"bytes={SIZE}-{SIZE + 1}", "unsatisfiable"),
    ("bytes=999999999999999999-", "unsatisfiable"),
    ("bytes=-0", "unsatisfiable"),
    # RFC 9110, section 14.2: what is not understood is ignored
    ("bytes=", None),
    ("bytes=-", None),
    ("bytes=9-5", None),
    ("bytes=a-b", None),
    ("bytes=0x0-0x9", None),
    ("bytes=+0-9", None),
    ("bytes=0-9;", None),
    ("bytes=0 - 9", None),
    ("bytes=--9", None),
    ("bytes=0-9-", None),
    ("bytes=1.0-2", None),
    ("bytes=\xb2-9", None),
    ("bytes 0-9", None),
    ("bytes 0-9/10", None),
    ("lines=0-9", None),
    ("0-9", None),
    ("", None),
    ("bytes=0-" + "9" * 100, None),
    ("bytes=" + "9" * 5000 + "-", None),
    # several ranges may be ignored as well; no client of a registry sends them
    ("bytes=0-9,20-29", None),
    ("bytes=0-9,", None),
    ("bytes=" + ",".join(["0-"] * 1000), None),
]


def path_of(template: str) -> str:
    for place, digest in PLACES.items():
        template = template.replace(place, digest)
    return template


class RegistryConformance:
    """The suite."""

    @pytest.fixture
    async def pulled(self, harness: Harness) -> Harness:
        await asyncio.to_thread(harness.add, ALPINE, IMAGE)
        await asyncio.to_thread(harness.add, OTHER, IMAGE)
        return harness

    @pytest.mark.parametrize("path", ["/", "/v2", "/v2/", "/livez", "/readyz", "/v2/?ns=docker.io"])
    async def test_probes(self, harness: Harness, path: str) -> None:
        async with running(harness.store) as node:
            for method in ("GET", "HEAD"):
                reply = await node.ask(path, method=method)
                assert (reply.status, reply.headers["content-length"]) == (200, "0")

    async def test_content_that_is_there(self, pulled: Harness) -> None:
        async with running(pulled.store) as node, await Client.connect(node.server.port) as client:
            for template, media_type, digest in FOUND:
                for fields in ((), (MIRRORED,)):
                    path = path_of(template)
                    head = await client.get(path, *fields, method="HEAD")
                    get = await client.get(path, *fields)
                    assert (head.status, get.status) == (200, 200), path
                    assert get.body == IMAGE.blobs[digest]
                    for reply in (head, get):
                        self.check_headers(reply, path, media_type, digest)
            assert node.peers.asked == []

    @staticmethod
    def check_headers(reply: Reply, path: str, media_type: str | None, digest: str) -> None:
        assert reply.headers["docker-content-digest"] == digest
        assert reply.headers["content-length"] == str(len(IMAGE.blobs[digest]))
        if media_type:
            assert reply.headers["content-type"] == media_type
        _, _, registry = path.partition("?ns=")
        assert reply.headers.get("oci-namespace", "") == registry.replace("%3A", ":")
        assert reply.headers.get("accept-ranges") == (None if "/manifests/" in path else "bytes")
        assert "content-range" not in reply.headers
        assert "content-encoding" not in reply.headers
        assert "transfer-encoding" not in reply.headers

    async def test_content_that_is_not_there(self, pulled: Harness) -> None:
        async with running(pulled.store) as node, await Client.connect(node.server.port) as client:
            for template, code, asks in NOT_FOUND:
                path = path_of(template)
                node.peers.asked.clear()
                get = await client.get(path)
                assert (get.status, error_code(get)) == (404, code), path
                assert len(node.peers.asked) == asks, path
                head = await client.get(path, method="HEAD")
                assert (head.status, head.headers["content-length"]) == (404, get.headers["content-length"])
                node.peers.asked.clear()
                mirrored = await client.get(path, MIRRORED)
                assert (mirrored.status, error_code(mirrored)) == (404, code), path
                assert node.peers.asked == [], "a peer's question is answered from the store only"

    async def test_other_methods(self, pulled: Harness) -> None:
        async with running(pulled.store) as node:
            for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
                for path in (
                    "/v2/",
                    "/v2/library/alpine/blobs/uploads/",
                    "/v2/library/alpine/manifests/3.20",
                ):
                    reply = await node.ask(path, method=method)
                    assert (reply.status, error_code(reply)) == (405, "UNSUPPORTED")
                    assert reply.headers["allow"] == "GET, HEAD"

    async def test_ranges_of_a_blob(self, pulled: Harness) -> None:
        path = path_of("/v2/library/alpine/blobs/{layer}?ns=docker.io")
        async with running(pulled.store) as node, await Client.connect(node.server.port) as client:
            for field, part in RANGES:
                client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\nRange: {field}\r\n\r\n".encode("latin-1"))
                reply = await client.reply()
                assert reply.headers["accept-ranges"] == "bytes"
                if part == "unsatisfiable":
                    assert reply.status == 416, field
                    assert reply.headers["content-range"] == f"bytes */{SIZE}"
                    assert error_code(reply) == "RANGE_INVALID"
                    continue
                assert reply.headers["docker-content-digest"] == IMAGE.layers[0]
                if isinstance(part, slice):
                    assert (reply.status, reply.body) == (206, LAYER[part]), field
                    expected = f"bytes {part.start}-{part.stop - 1}/{SIZE}"
                    assert reply.headers["content-range"] == expected
                else:
                    assert (reply.status, reply.body) == (200, LAYER), field
                    assert "content-range" not in reply.headers

    async def test_ranges_where_there_are_none(self, pulled: Harness) -> None:
        async with running(pulled.store) as node, await Client.connect(node.server.port) as client:
            blob = path_of("/v2/library/alpine/blobs/{layer}?ns=docker.io")
            for field in ("bytes=0-9", "bytes=0-9,20-29", f"bytes={SIZE}-"):
                manifest = await client.get(
                    path_of("/v2/library/alpine/manifests/{index}"), f"Range: {field}"
                )
                assert (manifest.status, manifest.body) == (200, IMAGE.blobs[IMAGE.index])
                assert "accept-ranges" not in manifest.headers
                # Only GET has ranges (RFC 9110, section 14.2).
                head = await client.get(blob, f"Range: {field}", method="HEAD")
                assert (head.status, head.headers["content-length"]) == (200, str(SIZE))
                # A condition that cannot hold, since nothing here has validators.
                stale = await client.get(blob, f"Range: {field}", 'If-Range: "x"')
                assert (stale.status, stale.body) == (200, LAYER)

    async def test_a_transfer_that_broke_is_continued(self, pulled: Harness) -> None:
        path = path_of("/v2/library/alpine/blobs/{layer}?ns=docker.io")
        async with running(pulled.store) as node:
            received = b""
            for cut in range(0, SIZE, SIZE // 7):
                async with await Client.connect(node.server.port) as client:
                    client.ask(path, *([f"Range: bytes={len(received)}-"] if received else []))
                    await client.head()
                    received += await client.reader.readexactly(max(0, cut - len(received)))
                    client.reset()
            rest = await node.ask(path, f"Range: bytes={len(received)}-")
            received += rest.body
        assert f"sha256:{hashlib.sha256(received).hexdigest()}" == IMAGE.layers[0]

    async def test_what_other_nodes_are_asked(self, harness: Harness) -> None:
        layer, index = IMAGE.layers[0], IMAGE.index
        async with running(harness.store) as node:
            await node.ask(
                "/v2/a/b/manifests/1?ns=localhost%3A5000", "Accept: x/y", "Accept: */*", method="HEAD"
            )
            await node.ask(f"/v2/a/b/manifests/{index}?ns=quay.io", "Range: bytes=0-9")
            await node.ask(f"/v2/a/b/blobs/{layer}", "Range: bytes=5-9")
            await node.ask(f"/v2/a/b/blobs/{layer}?ns=quay.io", "Range: bytes=5-")
            await node.ask(f"/v2/a/b/blobs/{layer}?ns=quay.io", "Range: bytes=-5")
            assert node.peers.asked == [
                Wanted(
                    "manifest", "localhost:5000", "a/b", "1", "localhost:5000/a/b:1", "HEAD", None, "x/y, */*"
                ),
                Wanted("manifest", "quay.io", "a/b", index, index),
                Wanted("blob", "", "a/b", layer, layer, "GET", (5, 9)),
                Wanted("blob", "quay.io", "a/b", layer, layer, "GET", (5, None)),
                Wanted("blob", "quay.io", "a/b", layer, layer, "GET", (None, 5)),
            ]

    async def test_content_that_was_removed_is_gone(self, pulled: Harness) -> None:
        paths = [path_of(template) for template, *_ in FOUND]
        async with running(pulled.store) as node:
            for path in paths:
                assert (await node.ask(path)).status == 200
            await asyncio.to_thread(pulled.remove, ALPINE)
            await asyncio.to_thread(pulled.remove, OTHER)
            for path in paths:
                for method in ("HEAD", "GET"):
                    assert (await node.ask(path, method=method)).status == 404, path
