"""A server and its clients over real sockets, and handlers and bodies to try them with."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from daemon.http.limits import Limits, Scope
from daemon.http.message import Body, Handler, Request, Response, Sink
from daemon.http.server import Server

PATIENCE = 100.0
"""Seconds after which a test fails that waits for what has to happen."""


class Notes:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.ended: list[tuple[str, int, bool]] = []
        self.refusals: list[int] = []
        self.turned_away_by: list[Scope] = []

    def begin(self, request: Request) -> None:
        self.in_flight += 1

    def end(self, request: Request, response: Response, seconds: float, *, complete: bool) -> None:
        self.in_flight -= 1
        self.ended.append((request.path, response.status.value, complete))

    def refused(self, client: str, status: HTTPStatus, message: str) -> None:
        self.refusals.append(status.value)

    def turned_away(self, scope: Scope) -> None:
        self.turned_away_by.append(scope)


@asynccontextmanager
async def serving(
    handler: Handler, limits: Limits | None = None, address: str = "127.0.0.1:0"
) -> AsyncIterator[tuple[Server, Notes]]:
    """Run a server; at the end nothing may be left of it."""
    notes = Notes()
    server = Server(handler, notes, limits)
    server.listen(address)
    try:
        yield server, notes
    finally:
        await server.drain(0)
        assert server.connections == 0
        assert notes.in_flight == 0


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)


class Client:
    """One connection, on which anything can be sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, port: int, host: str = "127.0.0.1") -> Client:
        return cls(*await asyncio.open_connection(host, port))

    @classmethod
    async def adopted(cls, server: Server, address: str) -> Client:
        """Connect as if from another host."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            theirs, _ = listener.accept()
        theirs.setblocking(False)
        server.adopt(theirs, address)
        return cls(*await asyncio.open_connection(sock=ours))

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def ask(self, path: str, *fields: str, method: str = "GET") -> None:
        lines = [f"{method} {path} HTTP/1.1", "Host: spegel", *fields, "", ""]
        self.send("\r\n".join(lines).encode())

    async def get(self, path: str, *fields: str, method: str = "GET") -> Reply:
        self.ask(path, *fields, method=method)
        return await self.reply(method=method)

    async def reply(self, *, method: str = "GET") -> Reply:
        async with asyncio.timeout(PATIENCE):
            status, headers = await self.head()
            length = 0 if method == "HEAD" else int(headers["content-length"])
            return Reply(status, headers, await self.reader.readexactly(length))

    async def head(self) -> tuple[int, dict[str, str]]:
        async with asyncio.timeout(PATIENCE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        pairs = [line.split(": ", 1) for line in lines]
        headers = {name.lower(): value for name, value in pairs}
        assert len(headers) == len(pairs)
        return int(first.split(" ")[1]), headers

    async def rest(self) -> bytes:
        """Return all that comes until the connection ends, by whatever means."""
        received = bytearray()
        async with asyncio.timeout(PATIENCE):
            try:
                while data := await self.reader.read(1 << 16):
                    received += data
            except ConnectionError:
                pass
        return bytes(received)


class Gate:
    """A body that writes ``before``, waits to be opened, and writes ``after``."""

    def __init__(self, before: bytes = b"", after: bytes = b"", *, length: int | None = None) -> None:
        self.before, self.after = before, after
        self.length = len(before) + len(after) if length is None else length
        self.sent = 0
        self.opened = asyncio.Event()
        self.waiting = asyncio.Event()
        self.released = asyncio.Event()
        self.releases = 0
        self.error: BaseException | None = None

    async def write_to(self, sink: Sink) -> None:
        try:
            await sink.send(self.before)
            self.sent = len(self.before)
            self.waiting.set()
            await self.wait(sink)
            await sink.send(self.after)
            self.sent += len(self.after)
        except BaseException as error:
            self.error = error
            raise

    async def wait(self, sink: Sink) -> None:
        await self.opened.wait()

    async def aclose(self) -> None:
        self.releases += 1
        self.released.set()


class WatchfulGate(Gate):
    """One that gives up when the client closes its end, as relays do."""

    async def wait(self, sink: Sink) -> None:
        waits = [asyncio.ensure_future(self.opened.wait()), asyncio.ensure_future(sink.closed())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if not waits[0].done():
                raise ConnectionResetError("gone")
        finally:
            for wait in waits:
                wait.cancel()


def ok(body: bytes | Body = b"") -> Response:
    return Response(HTTPStatus.OK, (("Content-Type", "text/plain"),), body)


def echo(request: Request) -> Response:
    """Answer with the path."""
    return ok(request.path.encode())


def routes(**answers: Callable[[Request], Response | Awaitable[Response]]) -> Handler:
    """Answer /name by the handler of that name, everything else by its path."""

    def handler(request: Request) -> Response | Awaitable[Response]:
        return answers.get(request.path[1:], echo)(request)

    return handler


async def event(happened: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE):
        await happened.wait()
