"""Response bodies from the store's files: the kernel copies them from the page cache to the socket."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable

from daemon.http.bucket import TokenBucket
from daemon.http.message import Sink
from daemon.store.base import Content

# One call of sendfile keeps the event loop for as long as it takes to read and queue this much.
SENDFILE_STEP = 2 * 1024 * 1024
COPY_STEP = 128 * 1024
_LEAST_STEP = 4 * 1024
_TRANSFERS = 512
"""As many as other nodes may have at once (`Limits`). With a cap, each has its turn within a second."""

_NO_SENDFILE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})


class TruncatedError(Exception):
    """Content ended before the length that was promised to the client."""


class FileBody:
    """A part of some content, from byte ``first`` on."""

    def __init__(
        self,
        content: Content,
        first: int,
        length: int,
        *,
        cap: TokenBucket | None = None,
        sent: Callable[[int], object] = lambda _: None,
    ) -> None:
        """Take over open content; ``aclose`` closes it.

        Args:
            content: read from.
            first: offset of the first byte.
            length: in bytes.
            cap: shared with whatever else counts against the same rate.
            sent: told the number of bytes after each step.
        """
        self._content = content
        self._first = self._offset = first
        self._end = first + length
        self._length = length
        self._cap = cap
        self._sent = sent

    @property
    def length(self) -> int:
        """The number of bytes that ``write_to`` writes."""
        return self._length

    @property
    def sent(self) -> int:
        """How many it has written so far."""
        return self._offset - self._first

    async def write_to(self, sink: Sink) -> None:
        """Write the part.

        Raises:
            TruncatedError: the content is shorter than it was.
            StoreError, OSError: it cannot be read, or the client is gone.
        """
        source = self._content.fileno()
        if source is None or not await self._send_file(source, sink):
            await self._copy(sink)

    async def aclose(self) -> None:
        """Close the content."""
        self._content.close()

    async def _send_file(self, source: int, sink: Sink) -> bool:
        """Return False when the file system cannot do it."""
        target = sink.fileno()
        end = self._offset

        def send() -> bool:
            self._count(os.sendfile(target, source, self._offset, min(SENDFILE_STEP, end - self._offset)))
            return self._offset < end

        try:
            while self._offset < self._end:
                end = self._offset + await self._allow(COPY_STEP, sink)
                await sink.pump(send)
        except OSError as error:
            if error.errno in _NO_SENDFILE:
                return False
            raise
        return True

    async def _copy(self, sink: Sink) -> None:
        while self._offset < self._end:
            end = self._offset + await self._allow(COPY_STEP, sink)
            while self._offset < end:
                data = await self._content.read(self._offset, min(COPY_STEP, end - self._offset))
                await sink.send(data)
                self._count(len(data))

    async def _allow(self, step: int, sink: Sink) -> int:
        """Return how much may be sent next: all that is left, or a step once the cap allows it.

        Steps are small, so that with many transfers none is silent for so long that its receiver gives it up
        (``daemon.mirror.pace``).
        """
        left = self._end - self._offset
        if self._cap is None:
            return left
        step = min(step, left, max(int(self._cap.rate) // _TRANSFERS, _LEAST_STEP))
        wait = self._cap.reserve(step, asyncio.get_running_loop().time())
        if wait > 0:
            await _pause(wait, sink)
        return step

    def _count(self, count: int) -> None:
        if count == 0:
            raise TruncatedError(f"content ended {self._end - self._offset} bytes early")
        self._offset += count
        self._sent(count)


async def _pause(seconds: float, sink: Sink) -> None:
    """Wait, but not for a client that is gone."""
    try:
        async with asyncio.timeout(seconds):
            await sink.closed()
    except TimeoutError:
        return
    raise ConnectionResetError("the client closed its end")
