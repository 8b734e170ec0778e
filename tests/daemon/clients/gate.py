"""A way to a server that holds back everything behind a number of bytes, so that a test can act just then."""

from __future__ import annotations

import asyncio
import contextlib

_STEP = 64 * 1024


class Gate:
    """Forwards connections; what the server sends is let through up to ``limit`` bytes, all together.

    After that nothing more passes until the gate is opened. A server that resets a connection, or ends it,
    resets the client's.
    """

    def __init__(self, target: str, limit: int) -> None:
        self.reached = asyncio.Event()
        """Set when the limit is reached."""
        self.gone = asyncio.Event()
        """Set when a client whose connection was held has left, by an end or a reset."""
        self._host, _, self._port = target.rpartition(":")
        self._left = limit
        self._opened = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, address: str) -> None:
        """Accept connections on an address."""
        host, _, port = address.rpartition(":")
        self._server = await asyncio.start_server(self._serve, host, int(port))

    def open(self) -> None:
        """Let everything pass from now on."""
        self._opened.set()

    def refuse(self) -> None:
        """Accept no more connections."""
        assert self._server is not None
        self._server.close()

    async def close(self) -> None:
        """End all connections."""
        self.refuse()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError):
                await self._forward(reader, writer)
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(self._host, self._port)
        try:
            async with asyncio.TaskGroup() as both:
                answers = both.create_task(self._answers(upstream_reader, writer))
                both.create_task(self._questions(reader, upstream_writer, answers))
        except* OSError:
            pass
        finally:
            upstream_writer.transport.abort()

    async def _questions(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: asyncio.Task[None]
    ) -> None:
        with contextlib.suppress(ConnectionError):  # a client that has not read everything leaves by a reset
            while not answers.done() and (data := await reader.read(_STEP)):
                writer.write(data)
                await writer.drain()
        answers.cancel()
        if self.reached.is_set():
            self.gone.set()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_STEP):
            self._left -= len(data)
            if self._left <= 0:
                self.reached.set()
                await self._opened.wait()
            writer.write(data)
            await writer.drain()
        writer.transport.abort()
