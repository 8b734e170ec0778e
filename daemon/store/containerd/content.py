"""Content read through containerd's API, for when its files cannot be opened."""

from __future__ import annotations

from daemon.oci.digest import Digest
from daemon.store.containerd.api.content_grpc import ContentStub
from daemon.store.containerd.api.content_pb2 import ReadContentRequest, ReadContentResponse
from daemon.store.containerd.connection import Connection

_MAX_READ = 1024 * 1024
_TIMEOUT = 30.0


class ApiContent:
    """One piece of content; unlike a file, it is gone at once when the store deletes it (NotFoundError)."""

    def __init__(self, connection: Connection, digest: Digest, size: int) -> None:
        """Nothing is opened: every read is a call."""
        self._connection = connection
        self._method = ContentStub(connection.channel).Read
        self._digest = digest
        self._size = size

    @property
    def size(self) -> int:
        """In bytes."""
        return self._size

    def fileno(self) -> None:
        """There is no file."""

    async def read(self, offset: int, count: int) -> bytes:
        """Return up to ``count`` bytes, 1 MiB at most."""
        count = min(count, _MAX_READ, self._size - offset)
        if count <= 0:
            return b""
        parts: list[bytes] = []

        def consume(reply: ReadContentResponse) -> None:
            parts.append(reply.data)

        request = ReadContentRequest(digest=self._digest, offset=offset, size=count)
        await self._connection.stream(self._method, request, consume, timeout=_TIMEOUT)
        return b"".join(parts)

    def close(self) -> None:
        """Nothing to release."""
