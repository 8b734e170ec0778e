"""Single requests to registries and probes on the network of the node: a GET, its head, its body discarded.

For the debug page and the cleanup only. Content of peers takes another way, see ``daemon.mirror``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from daemon.http.response_head import BadResponseError, ResponseHead, ResponseHeadReader

_STEP = 256 * 1024


class ClientError(Exception):
    """There was no usable answer; the message says why."""


@dataclass(slots=True)
class Answer:
    """An answer whose body is still to be read."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    _reader: asyncio.StreamReader

    async def read(self, limit: int) -> bytes:
        """Return the whole body; ClientError when it is longer than ``limit`` bytes or ends early."""
        length = self._length()
        if length > limit:
            raise ClientError(f"the answer is longer than {limit} bytes")
        try:
            return await self._reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError) as error:
            raise ClientError("the answer ends early") from error

    async def discard(self) -> int:
        """Read the body and forget it; return its length. ClientError when it ends early."""
        length = rest = self._length()
        while rest:
            try:
                data = await self._reader.read(min(rest, _STEP))
            except OSError as error:
                raise ClientError(f"the answer breaks off: {error}") from error
            if not data:
                raise ClientError(f"the answer ends {rest} bytes early")
            rest -= len(data)
        return length

    def _length(self) -> int:
        text = self.headers.get("content-length", "")
        if not (text.isascii() and text.isdigit()) or len(text) > 18:
            raise ClientError("the answer does not say its length")
        return int(text)


@asynccontextmanager
async def get(
    host: str, port: int, target: str, headers: Mapping[str, str] | None = None
) -> AsyncIterator[Answer]:
    """Ask; the caller bounds the time.

    Args:
        host: an address or a name.
        port: of the server.
        target: path and query, percent-encoded.
        headers: further fields.

    Raises:
        ClientError: there is no usable answer.
    """
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    fields = {"Host": authority, "Connection": "close", "User-Agent": "spegel", **(headers or {})}
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    try:
        reader, writer = await asyncio.open_connection(host, port, limit=_STEP)
    except OSError as error:
        raise ClientError(f"{authority} cannot be reached: {error.strerror or error}") from error
    try:
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        try:
            head = await _read_head(reader)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise ClientError(f"{authority} gives no answer") from error
        except BadResponseError as error:
            raise ClientError(f"{authority}: {error}") from error
        yield Answer(head.status, head.fields, reader)
    finally:
        writer.transport.abort()


async def _read_head(reader: asyncio.StreamReader) -> ResponseHead:
    head, collected = None, ResponseHeadReader()
    while head is None:
        head = collected.feed(await reader.readuntil(b"\r\n"))
    return head
