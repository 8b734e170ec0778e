"""Hostile requests: nothing crashes, nothing leaks, and every answer is one.

``FUZZ_REQUESTS`` says how many are answered in the process; a fiftieth of that go over real TCP.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from daemon.http.head import BadRequestError, HeadBuffer, parse_head
from daemon.http.message import Response
from daemon.mirror import Wanted
from daemon.oci.digest import Digest
from tests.daemon.http.wire import Gate
from tests.daemon.images import make_image
from tests.daemon.registry.file_store import FileStore
from tests.daemon.registry.node import Node, running

REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "6000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
PER_CONNECTION = 8
AT_ONCE = 50

IMAGE = make_image(1, size=3000)
RELAYED = Digest("sha256:" + "5" * 64)
DIGESTS = [
    *IMAGE.blobs,
    RELAYED,
    "sha256:" + "0" * 64,
    "sha512:" + "0" * 128,
    "sha256:",
    "md5:00",
    "sha256:../x",
]
NAMES = [
    "library/alpine",
    "a",
    "a/b/c",
    "A",
    "a//b",
    "a..b",
    "-",
    "%2e%2e",
    "..",
    ".",
    "manifests",
    "x" * 300,
    "ä",
]
TAGS = ["3.20", "latest", "", ".", "..", "-", "x" * 128, "x" * 129, "3.20/", "%00", "3.20%0d%0a", "3.20?x"]
REGISTRIES = [
    "docker.io",
    "localhost%3A5000",
    "[::1]:5000",
    "",
    "a b",
    "a%00b",
    "x" * 300,
    "docker.io%2Fx",
    "%ff",
]
RANGES = [
    "0-0",
    "0-",
    "-1",
    "-0",
    "5-1",
    "99999999999999999999-",
    "0-1,2-3",
    "a-b",
    "",
    "-",
    "0-" + "9" * 400,
]
METHODS = ["GET"] * 12 + ["HEAD"] * 4 + ["POST", "PUT", "get", "CONNECT", "PRI", "", "G T", "X" * 5000]
VERSIONS = ["HTTP/1.1"] * 20 + ["HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "HTTP/1.10", "http/1.1", "", "HTTP/1.1 "]
PATHS = [
    "/",
    "/v2",
    "/v2/",
    "/livez",
    "/readyz",
    "*",
    "http://h/v2/",
    "//",
    "/../../etc/passwd",
    "/" + "a" * 9000,
    "?",
    "",
]
FIELDS = [
    "X-Spegel-Mirrored: true",
    "X-Spegel-Mirrored: false",
    "Accept: */*",
    "Accept: " + "a/b," * 500,
    "Connection: close",
    "Connection: keep-alive, upgrade",
    "Content-Length: 0",
    "Content-Length: 5",
    "Content-Length: -5",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding : chunked",
    "Expect: 100-continue",
    "Upgrade: h2c",
    "Authorization: Basic \xff",
    "If-Range: x",
    "Host: again",
    " folded: x",
    "no colon",
    ": x",
    "X: \x00",
    "X: " + "x" * 20_000,
    *["A: b"] * 3,
]
BYTES = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\x00",
    b" ",
    b":",
    b"%",
    b"/",
    b"..",
    b"?",
    b"\xff",
    b"GET ",
    b"0\r\n\r\n",
]


def requests(generator: random.Random) -> Iterator[bytes]:
    """Yield requests, most of which are nearly right."""
    choice = generator.choice
    while True:
        path = choice(PATHS)
        if generator.random() < 0.8:
            kind = choice(["manifests", "blobs", "manifests", "blobs", "tags/list", "Manifests", ""])
            name = choice([NAMES[0], choice(NAMES)])
            path = f"/v2/{name}/{kind}/{choice(choice([DIGESTS, TAGS]))}"
        if generator.random() < 0.7:
            path += f"?ns={choice([REGISTRIES[0], choice(REGISTRIES)])}"
        if generator.random() < 0.6:
            head = (
                f"{choice(METHODS[:16])} {path} HTTP/1.1\r\nHost: a\r\nRange: bytes={choice(RANGES)}\r\n\r\n"
            )
            yield head.encode()
            continue
        lines = [f"{choice(METHODS)} {path} {choice(VERSIONS)}"]
        if generator.random() < 0.95:
            lines.append("Host: spegel")
        if generator.random() < 0.3:
            lines.append(f"Range: {choice(['bytes', 'lines', 'Bytes'])}={choice(RANGES)}")
        lines += generator.sample(FIELDS, choice([0, 0, 0, 1, 1, 2, 5]))
        data = "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")
        while generator.random() < 0.25:
            data = mutated(generator, data)
        yield data


def mutated(generator: random.Random, data: bytes) -> bytes:
    start = generator.randrange(len(data) + 1)
    end = min(len(data), start + generator.choice([0, 0, 1, 1, 2, 30]))
    middle = generator.choice([b"", generator.choice(BYTES), generator.randbytes(3), data[start:end] * 2])
    return data[:start] + middle + data[end:]


def expected(stream: bytes) -> list[tuple[str, int]]:
    """Return the methods of the requests in a stream, and whether each is the last to be answered.

    This is the strict parser's own opinion: what is checked with it is the framing of the answers.
    """
    buffer, found = HeadBuffer(), []
    buffer.feed(stream)
    try:
        while (data := buffer.take()) is not None:
            head = parse_head(data, "")
            found.append((head.request.method, 0))
            if not head.keep_alive:
                return found
    except BadRequestError as error:
        found.append(("", error.status.value))
    return found


def check(stream: bytes, answers: bytes, seen: Counter[int]) -> None:
    """Take answers apart, as strictly as a proxy would."""
    for method, refusal in expected(stream):
        head, separator, answers = answers.partition(b"\r\n\r\n")
        assert separator, stream
        first, *lines = head.decode("latin-1").split("\r\n")
        assert first.startswith("HTTP/1.1 "), stream
        status = int(first[9:12])
        headers = dict(line.split(": ", 1) for line in lines)
        assert len(headers) == len(lines), stream
        length = 0 if method == "HEAD" else int(headers["Content-Length"])
        body, answers = answers[:length], answers[length:]
        assert len(body) == length, stream
        assert status == refusal or not refusal, stream
        if status >= 400:
            assert headers["Content-Type"] == "application/json", stream
            assert body == b"" if method == "HEAD" else json.loads(body)["errors"][0]["code"], stream
        assert status in {200, 206, 400, 404, 405, 408, 413, 414, 416, 431, 505}, stream
        seen[status] += 1
    assert answers == b"", stream


async def talk(node: Node, stream: bytes, connect: Callable[[Node], socket.socket]) -> bytes:
    """Send a stream in pieces and return all that is answered."""
    loop = asyncio.get_running_loop()
    generator = random.Random(len(stream))
    with connect(node) as sock:
        sock.setblocking(False)
        received = bytearray()

        async def receive() -> None:
            while data := await loop.sock_recv(sock, 1 << 16):
                received.extend(data)

        receiving = asyncio.ensure_future(receive())
        try:
            rest = stream
            while rest:
                piece = generator.choice([1, 7, 100, len(rest)])
                await loop.sock_sendall(sock, rest[:piece])
                rest = rest[piece:]
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # refused, and closed
        async with asyncio.timeout(60):
            await receiving
    return bytes(received)


def adopted(node: Node) -> socket.socket:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    node.server.adopt(theirs, "127.0.0.1")
    return ours


def dialled(node: Node) -> socket.socket:
    return socket.create_connection(("127.0.0.1", node.server.port))


def relayed(wanted: Wanted) -> Response:
    gate = Gate(b"x" * 1000)
    gate.opened.set()
    return Response(HTTPStatus.OK, (("Content-Type", "x/y"),), gate, attributes={"source": "peer"})


async def attack(
    node: Node, count: int, connect: Callable[[Node], socket.socket], generator: random.Random
) -> Counter[int]:
    source, seen = requests(generator), Counter[int]()

    async def one() -> None:
        stream = b"".join(next(source) for _ in range(generator.randint(1, PER_CONNECTION)))
        check(stream, await talk(node, stream, connect), seen)

    while seen.total() < count:
        await asyncio.gather(*[one() for _ in range(AT_ONCE)])
    while node.server.connections:
        await asyncio.sleep(0)
    return seen


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(("connect", "count"), [(adopted, REQUESTS), (dialled, REQUESTS // 50)])
async def test_hostile_requests(
    tmp_path: Path, connect: Callable[[Node], socket.socket], count: int, caplog: pytest.LogCaptureFixture
) -> None:
    store = FileStore(tmp_path)
    store.add("docker.io/library/alpine:3.20", IMAGE)
    generator = random.Random(SEED)
    async with running(store) as node:
        node.peers.have[RELAYED] = relayed
        for manifest in (IMAGE.index, IMAGE.manifest):
            await node.facts.load_manifest(manifest)
        await attack(node, count // 5, connect, generator)
        files, memory = open_files(), resident()
        seen = await attack(node, count - count // 5, connect, generator)
        store.opened.clear()
        store.calls.clear()
        node.peers.asked.clear()
        gc.collect()
        assert open_files() == files
        # Most of what is added is the doubles' memory of what they were asked.
        assert resident() - memory < 20_000_000
    assert {200, 400, 404} <= set(seen), seen
    assert store.still_open == 0
    assert not [record for record in caplog.records if record.exc_info]
