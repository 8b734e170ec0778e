"""Peers that do what a test tells them, a router that knows them, a client that takes what comes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from daemon.http.message import Body, Response
from daemon.http.turns import Step, take_turn
from daemon.metrics import Metrics
from daemon.mirror import Mirror, Wanted
from daemon.mirror.wanted import Range
from daemon.oci.descriptor import OCI_MANIFEST
from daemon.routing.base import Peer

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def pattern(size: int, seed: int = 0) -> bytes:
    """Bytes in which every part differs from every other."""
    return b"".join(hashlib.sha256(f"{seed}/{number}".encode()).digest() for number in range(size // 32 + 1))[
        :size
    ]


def blob(data: bytes, method: str = "GET", wanted_range: Range | None = None) -> Wanted:
    digest = digest_of(data)
    return Wanted("blob", "docker.io", "library/alpine", digest, digest, method, wanted_range)  # type: ignore[arg-type]


def manifest(data: bytes, method: str = "GET") -> Wanted:
    digest = digest_of(data)
    return Wanted("manifest", "docker.io", "library/alpine", digest, digest, method)  # type: ignore[arg-type]


def tag(method: str = "HEAD") -> Wanted:
    key = "docker.io/library/alpine:3.20"
    return Wanted("manifest", "docker.io", "library/alpine", "3.20", key, method)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Asked:
    """A request as a peer got it."""

    method: str
    target: str
    headers: dict[str, str]

    @property
    def range(self) -> Range | None:
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("range", ""))
        if match is None:
            return None
        first, last = (int(digits) if digits else None for digits in match.groups())
        return first, last


Script = Callable[[Asked, asyncio.StreamWriter], Awaitable[bool]]
"""Answers one request; returns whether the connection goes on."""


@dataclass
class Honest:
    """Answers as it should, but for what a test changes."""

    data: bytes
    media_type: str = LAYER
    status: int | None = None
    headers: dict[str, str | None] = field(default_factory=dict)
    """Replaces header fields; None leaves one out."""
    dies_after: int | None = None
    """Offset in the content at which the connection ends."""
    stalls_after: int | None = None
    """Offset in the content after which nothing comes any more, until the other side is gone."""
    delay: float = 0.0
    """Seconds before the head."""
    rate: float | None = None
    """Bytes per second of the body."""
    surplus: bytes = b""
    """Follows the body."""
    keep_alive: bool = True

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(self.delay)
        first, last = asked.range or (0, None)
        if first is None:
            first, last = max(len(self.data) - (last or 0), 0), None
        end = len(self.data) if last is None else min(last + 1, len(self.data))
        headers: dict[str, str | None] = {
            "Content-Type": self.media_type,
            "Content-Length": str(end - first),
            "Docker-Content-Digest": digest_of(self.data),
        }
        status = 200
        if asked.range:
            status = 206
            headers["Content-Range"] = f"bytes {first}-{end - 1}/{len(self.data)}"
        headers |= self.headers
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value is not None)
        writer.write(f"HTTP/1.1 {self.status or status} X\r\n{fields}\r\n".encode())
        if asked.method == "HEAD":
            return self.keep_alive
        await self._body(first, end, writer)
        return self.keep_alive

    async def _body(self, first: int, end: int, writer: asyncio.StreamWriter) -> None:
        stop = min(end, *(x for x in (self.dies_after, self.stalls_after, end) if x is not None))
        step = 1 << 16 if self.rate is None else max(int(self.rate), 1)
        for offset in range(first, stop, step):
            writer.write(self.data[offset : min(offset + step, stop)])
            await writer.drain()
            if self.rate is not None:
                await asyncio.sleep(1)
        if self.dies_after is not None and self.dies_after < end:
            raise ConnectionAbortedError
        if self.stalls_after is not None and self.stalls_after < end:
            await asyncio.get_running_loop().create_future()
        writer.write(self.surplus)
        await writer.drain()


def says(data: bytes) -> Script:
    """Send these bytes whatever the question is, and close."""

    async def script(_: Asked, writer: asyncio.StreamWriter) -> bool:
        writer.write(data)
        return False

    return script


def status(code: int, headers: str = "") -> Script:
    return says(f"HTTP/1.1 {code} X\r\n{headers}Content-Length: 0\r\n\r\n".encode())


async def silent(_: Asked, writer: asyncio.StreamWriter) -> bool:
    """Take the question and never answer."""
    await asyncio.get_running_loop().create_future()
    return False


async def resets(_: Asked, writer: asyncio.StreamWriter) -> bool:
    writer.transport.abort()
    return False


class Node:
    """A peer with a registry on loopback that follows a script."""

    def __init__(self, name: str, script: Script) -> None:
        self.name = name
        self.script = script
        self.asked: list[Asked] = []
        self.connections = 0
        """Connections ever taken."""
        self.open = 0
        self.let_go = asyncio.Event()
        """Set while nobody is connected, after somebody was."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._port = 0

    @property
    def peer(self) -> Peer:
        return Peer(self.name, (IPv4Address("127.0.0.1"),), self._port)

    @property
    def ranges(self) -> list[Range | None]:
        return [asked.range for asked in self.asked]

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=1 << 16)
        self._port = server.sockets[0].getsockname()[1]
        return server

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        self.let_go.clear()
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.transport.abort()
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            writer.close()
            self._tasks.discard(task)
            self.open -= 1
            if not self.open:
                self.let_go.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        goes_on = True
        while goes_on:
            head = await reader.readuntil(b"\r\n\r\n")
            line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
            method, target, _ = line.split(" ")
            fields = (line.split(": ", 1) for line in lines)
            asked = Asked(method, target, {name.lower(): value for name, value in fields})
            self.asked.append(asked)
            answering = asyncio.ensure_future(self.script(asked, writer))
            leaving = asyncio.ensure_future(reader.read(1))
            try:
                await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if not answering.done():
                    raise ConnectionResetError("the other side is gone")
                goes_on = answering.result() and not leaving.done()
            finally:
                answering.cancel()
                leaving.cancel()
                await asyncio.gather(answering, leaving, return_exceptions=True)


class KnownPeers:
    """A router that finds the given peers, in order, as fast as it is told."""

    def __init__(
        self,
        nodes: Iterable[Node | Peer],
        *,
        delay: float = 0.0,
        endless: bool = False,
        by_key: dict[str, Sequence[Node]] | None = None,
    ) -> None:
        self.nodes = list(nodes)
        self.delay = delay
        self.endless = endless
        self.by_key = by_key or {}
        self.lookups: list[str] = []
        self.pulled = 0
        """Peers that were taken."""
        self.abandoned = 0

    @property
    def id(self) -> str:
        raise NotImplementedError

    async def ready(self) -> bool:
        return True

    async def lookup(self, key: str, count: int) -> AsyncGenerator[Peer, None]:
        self.lookups.append(key)
        try:
            for node in list(self.by_key.get(key, self.nodes))[:count]:
                await asyncio.sleep(self.delay)
                self.pulled += 1
                yield node.peer if isinstance(node, Node) else node
            if self.endless:
                await asyncio.get_running_loop().create_future()
        except (asyncio.CancelledError, GeneratorExit):
            self.abandoned += 1
            raise

    async def advertise(self, keys: Iterable[str]) -> None:
        raise NotImplementedError

    async def withdraw(self, keys: Iterable[str]) -> None:
        raise NotImplementedError

    async def peers(self) -> Sequence[Peer]:
        return []

    def addresses(self) -> Sequence[str]:
        return []

    async def run(self) -> None:
        raise NotImplementedError


@dataclass
class Scene:
    """Peers, a mirror that knows them, and what it counts."""

    mirror: Mirror
    router: KnownPeers
    metrics: Metrics
    nodes: list[Node]

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@contextlib.asynccontextmanager
async def scene(
    *scripts: Script, router: KnownPeers | None = None, verify_blobs: bool = False, retries: int = 3
) -> AsyncIterator[Scene]:
    """Start one peer per script and a mirror that finds them in that order."""
    nodes = [Node(f"peer-{number}", script) for number, script in enumerate(scripts, 1)]
    router = router or KnownPeers([])
    router.nodes = [*nodes, *router.nodes]
    metrics = Metrics("test")
    mirror = Mirror(router, metrics, verify_blobs=verify_blobs, resolve_retries=retries)
    async with contextlib.AsyncExitStack() as stack:
        for node in nodes:
            server = await node.start()
            stack.push_async_callback(node.stop)
            stack.callback(server.close)
        stack.push_async_callback(mirror.aclose)
        yield Scene(mirror, router, metrics, nodes)


class SocketSink:
    """The client's end of a response body, over a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._gone = asyncio.Event()

    def fileno(self) -> int:
        return self._socket.fileno()

    async def pump(self, step: Step) -> None:
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        loop.add_writer(self._socket, take_turn, ended, step)
        try:
            await ended
        finally:
            loop.remove_writer(self._socket)

    async def send(self, data: bytes | memoryview) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def closed(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket, self._gone.set)
        try:
            await self._gone.wait()
        finally:
            loop.remove_reader(self._socket)


@dataclass
class Taken:
    """What a client got of a body."""

    data: bytes
    cut: BaseException | None
    """Why the server would have cut the connection."""


async def take(body: bytes | Body, leave_after: int | None = None, pause: float = 0) -> Taken:
    """Read a response body as a client that leaves after so many bytes, or pauses after the first ones."""
    assert not isinstance(body, bytes)
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)

        async def write() -> BaseException | None:
            try:
                await body.write_to(SocketSink(ours))
            except Exception as error:  # noqa: BLE001  # the test looks at it
                return error
            finally:
                await body.aclose()
                if ours.fileno() >= 0:
                    ours.shutdown(socket.SHUT_WR)
            return None

        writing = asyncio.ensure_future(write())
        data = bytearray()
        while part := await loop.sock_recv(theirs, 1 << 16):
            data += part
            await asyncio.sleep(pause)
            pause = 0
            if leave_after is not None and len(data) >= leave_after:
                break
        theirs.close()
        return Taken(bytes(data), await writing)


async def pull(mirror: Mirror, wanted: Wanted, leave_after: int | None = None) -> tuple[Response, Taken]:
    response = await mirror.fetch(wanted)
    return response, await take(response.body, leave_after)


MANIFEST = b'{"schemaVersion": 2, "config": {}, "layers": []}'


def honest_manifest(data: bytes = MANIFEST, **changes: object) -> Honest:
    return Honest(data, OCI_MANIFEST, **changes)  # type: ignore[arg-type]
