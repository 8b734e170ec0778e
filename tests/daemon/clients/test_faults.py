"""Whole daemons when something breaks: a client gets everything, or a refusal, or an end that it can see."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from daemon.run import Daemon
from tests.daemon.cli.program import free_port
from tests.daemon.clients.gate import Gate
from tests.daemon.composed import LIMIT, Network, running
from tests.daemon.containerd import Containerd
from tests.daemon.http.wire import Client
from tests.daemon.images import TestImage, make_image
from tests.daemon.layouts import lay_out

NAME = "docker.io/library/app:1"
MIB = 2**20
IMAGE = make_image(1, large=24 * MIB)
LARGE = IMAGE.layers[-1]
SMALL = IMAGE.layers[0]


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    lay_out(tmp_path / "layout", {NAME: IMAGE})
    return tmp_path / "layout"


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    lay_out(tmp_path / "empty", {})
    return tmp_path / "empty"


def address(number: int) -> str:
    return f"127.0.0.{number}:{free_port()}"


def add(containerd: Containerd, name: str, image: TestImage) -> None:
    flags = ("--no-unpack", "--platform", "linux/amd64")
    containerd.ctr("images", "import", *flags, "-", stdin=image.archive(name))


async def connect(node: str) -> Client:
    host, _, port = node.rpartition(":")
    return await Client.connect(int(port), host)


def path_of(digest: str) -> str:
    return f"/v2/library/app/blobs/{digest}?ns=docker.io"


async def ask(node: str, digest: str) -> tuple[int, bytes]:
    """Ask on a connection of its own; return status and body."""
    async with asyncio.timeout(LIMIT), await connect(node) as client:
        reply = await client.get(path_of(digest))
        return reply.status, reply.body


async def received(client: Client) -> tuple[int, bytes]:
    """Return the length that an answer promises, and what came of it until the end of the connection."""
    status, headers = await client.head()
    assert status == 200
    return int(headers["content-length"]), await client.rest()


def connections(daemon: Daemon) -> int:
    return daemon._registry_server.connections


async def until_idle(*daemons: Daemon) -> None:
    async with asyncio.timeout(LIMIT):
        while any(map(connections, daemons)):
            await asyncio.sleep(0.01)


@pytest.mark.root
async def test_containerd_is_restarted(containerd: Containerd, empty: Path) -> None:
    network, near, far = Network(), address(2), address(3)
    other = make_image(2)
    store = {"containerd_sock": containerd.socket, "containerd_content_path": str(containerd.content)}
    await asyncio.to_thread(add, containerd, NAME, IMAGE)
    async with running(network, far, **store), running(network, near, oci_layout=str(empty)):
        await network.advertised(far, IMAGE.blobs)
        assert await ask(near, SMALL) == (200, IMAGE.blobs[SMALL])

        await asyncio.to_thread(containerd.stop)
        async with await connect(far) as client:
            assert (await client.get("/v2/")).status == 200
        assert (await ask(far, other.config))[0] == 404

        await asyncio.to_thread(containerd.start)
        await asyncio.to_thread(add, containerd, "docker.io/library/other:1", other)
        await network.advertised(far, ["docker.io/library/other:1", *other.blobs])
        for image in (IMAGE, other):
            for digest in (image.config, *image.layers):
                assert await ask(near, digest) == (200, image.blobs[digest])


async def test_500_clients_at_once_get_what_is_local(layout: Path) -> None:
    node = address(2)
    async with running(Network(), node, oci_layout=str(layout)) as daemon:
        digests = [IMAGE.config, *IMAGE.layers[:-1]]
        wanted = [digests[number % len(digests)] for number in range(500)]
        replies = await asyncio.gather(*(ask(node, digest) for digest in wanted))
        assert replies == [(200, IMAGE.blobs[digest]) for digest in wanted]
        await until_idle(daemon)


async def test_500_clients_at_once_get_what_another_node_has_or_a_404(layout: Path, empty: Path) -> None:
    network, near, far = Network(), address(2), address(3)
    async with (
        running(network, far, oci_layout=str(layout)) as one,
        running(network, near, oci_layout=str(empty)) as other,
    ):
        await network.advertised(far, IMAGE.blobs)
        replies = await asyncio.gather(*(ask(near, SMALL) for _ in range(500)))
        served = [body for status, body in replies if status == 200]
        assert served == [IMAGE.blobs[SMALL]] * len(served)
        assert {status for status, _ in replies} <= {200, 404}
        assert len(served) >= 64
        assert await ask(near, SMALL) == (200, IMAGE.blobs[SMALL])
        await until_idle(other)
        assert connections(one) <= 2, "the connections that are kept for the next question"


@contextlib.asynccontextmanager
async def gate(target: str, limit: int) -> AsyncIterator[tuple[Gate, str]]:
    passage, seen_at = Gate(target, limit), address(4)
    await passage.listen(seen_at)
    try:
        yield passage, seen_at
    finally:
        await passage.close()


async def test_a_client_that_leaves_midway_lets_go_of_the_other_node_at_once(
    layout: Path, empty: Path
) -> None:
    network, near, far = Network(), address(2), address(3)
    async with (
        gate(far, 4 * MIB) as (passage, seen_at),
        running(network, far, seen_at=seen_at, oci_layout=str(layout)) as source,
        running(network, near, oci_layout=str(empty)) as relay,
    ):
        await network.advertised(far, IMAGE.blobs)
        client = await connect(near)
        client.ask(path_of(LARGE))
        async with asyncio.timeout(LIMIT):
            await passage.reached.wait()
            client.close()
            await passage.gone.wait()  # while nothing moves: nobody has noticed by writing
        await until_idle(relay, source)


class FailingDisk:
    """A disk that cannot read one file from an offset on."""

    def __init__(self, file: Path, offset: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self._inode = file.stat().st_ino
        self._offset = offset
        self._sendfile = os.sendfile
        self.errors = 0
        monkeypatch.setattr(os, "sendfile", self.sendfile)

    def sendfile(self, target: int, source: int, offset: int, count: int) -> int:
        if offset + count > self._offset and os.fstat(source).st_ino == self._inode:
            self.errors += 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return self._sendfile(target, source, offset, count)


def blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / digest.replace(":", "/")


async def test_a_disk_that_fails_midway_cuts_the_connection(
    layout: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    node = address(2)
    disk = FailingDisk(blob(layout, LARGE), 9 * MIB, monkeypatch)
    async with running(Network(), node, oci_layout=str(layout)), await connect(node) as client:
        client.ask(path_of(LARGE))
        promised, came = await received(client)
        assert promised == len(IMAGE.blobs[LARGE])
        assert 0 < len(came) <= 9 * MIB
        assert IMAGE.blobs[LARGE].startswith(came)
        assert await ask(node, SMALL) == (200, IMAGE.blobs[SMALL])
    assert disk.errors == 1
    assert "Input/output error" in caplog.text


async def test_when_another_nodes_disk_fails_midway_a_third_one_goes_on(
    layout: Path, empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, near, far, third = Network(), address(2), address(3), address(5)
    shutil.copytree(layout, tmp_path / "copy")
    disk = FailingDisk(blob(layout, LARGE), 9 * MIB, monkeypatch)
    async with (
        running(network, far, oci_layout=str(layout)),
        running(network, near, oci_layout=str(empty)),
    ):
        await network.advertised(far, IMAGE.blobs)
        async with await connect(near) as client:
            client.ask(path_of(LARGE))
            promised, came = await received(client)
            assert len(came) < promised
        assert disk.errors == 1
        async with running(network, third, oci_layout=str(tmp_path / "copy")):
            await network.advertised(third, IMAGE.blobs)
            assert await ask(near, LARGE) == (200, IMAGE.blobs[LARGE])


@pytest.mark.root
async def test_a_blob_that_is_shorter_than_containerd_says_comes_from_another_node(
    containerd: Containerd, layout: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network, near, far = Network(), address(2), address(3)
    await asyncio.to_thread(add, containerd, NAME, IMAGE)
    store = {"containerd_sock": containerd.socket, "containerd_content_path": str(containerd.content)}
    os.truncate(containerd.content / "blobs" / SMALL.replace(":", "/"), 100)
    async with running(network, near, **store), running(network, far, oci_layout=str(layout)):
        await network.advertised(far, IMAGE.blobs)
        assert await ask(near, SMALL) == (200, IMAGE.blobs[SMALL])
        assert await ask(near, IMAGE.config) == (200, IMAGE.blobs[IMAGE.config])
    assert "100 bytes" in caplog.text


async def test_a_manifest_that_is_spoiled_on_the_disk_comes_from_another_node(
    layout: Path, tmp_path: Path
) -> None:
    network, near, far = Network(), address(2), address(3)
    shutil.copytree(layout, tmp_path / "copy")
    spoiled = blob(layout, IMAGE.manifest)
    spoiled.write_bytes(spoiled.read_bytes().replace(b'"schemaVersion": 2', b'"schemaVersion": 3'))
    async with (
        running(network, near, oci_layout=str(layout)),
        running(network, far, oci_layout=str(tmp_path / "copy")),
    ):
        await network.advertised(far, IMAGE.blobs)
        async with await connect(near) as client:
            reply = await client.get(f"/v2/library/app/manifests/{IMAGE.manifest}?ns=docker.io")
        assert f"sha256:{hashlib.sha256(reply.body).hexdigest()}" == IMAGE.manifest
