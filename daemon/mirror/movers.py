"""Moves bytes from a peer's connection to a client's socket: inside the kernel, or through a hash.

A mover is filled (from the peer; fails with PeerError) only when it is drained (to the client; fails with
OSError), so that it is always clear whose fault a failure is, and nothing is in between when a peer fails.
"""

from __future__ import annotations

import errno
import hashlib
import os
from typing import TYPE_CHECKING, Protocol

from daemon.mirror.fault import Fault, PeerError

if TYPE_CHECKING:
    from daemon.http.message import Sink
    from daemon.mirror.connection import Connection
    from daemon.mirror.pipes import PipePool
    from daemon.oci.digest import Digest

_BUFFER = 256 * 1024
_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class Mover(Protocol):
    """What a relay moves bytes with."""

    @property
    def level(self) -> int:
        """The number of bytes in it."""

    def put(self, data: bytes) -> int:
        """Fill with bytes that were read already; return how many were taken."""

    def fill(self, connection: Connection, most: int) -> int:
        """Take up to ``most`` bytes from a peer; raises PeerError, BlockingIOError when there are none."""

    def complete(self) -> None:
        """Note that the last byte was filled; raises PeerError when the content is wrong."""

    def drain(self, sink: Sink) -> int:
        """Return how much the client took; raises OSError, BlockingIOError when it was nothing."""

    def close(self) -> None:
        """Release it."""


class Splicer:
    """Moves bytes through a pipe; they never enter this process."""

    def __init__(self, pool: PipePool) -> None:
        """Take a pipe from the pool; raises OSError when no more files may be open."""
        self._pool = pool
        self._pipe = pool.take()

    @property
    def level(self) -> int:
        """The number of bytes in the pipe."""
        return self._pipe.level

    def put(self, data: bytes) -> int:
        """Write to the pipe."""
        count = os.write(self._pipe.target, data)
        self._pipe.level += count
        return count

    def fill(self, connection: Connection, most: int) -> int:
        """Splice from the peer."""
        try:
            count = os.splice(
                connection.fileno(), self._pipe.target, min(most, self._pipe.size), flags=_FLAGS
            )
        except BlockingIOError:
            raise
        except OSError as error:
            raise PeerError(Fault.UNREACHABLE, f"the connection broke: {error}") from error
        if not count:
            raise PeerError(Fault.UNREACHABLE, "the peer closed the connection")
        self._pipe.level += count
        return count

    def complete(self) -> None:
        """Nothing is known of the content."""

    def drain(self, sink: Sink) -> int:
        """Splice to the client."""
        count = os.splice(self._pipe.source, sink.fileno(), self._pipe.level, flags=_FLAGS)
        if not count:
            raise OSError(errno.EPIPE, "the client takes nothing")
        self._pipe.level -= count
        return count

    def close(self) -> None:
        """Give the pipe back."""
        self._pool.give(self._pipe)


class Hasher:
    """Moves bytes through this process and compares their digest before the last of them goes out."""

    def __init__(self, digest: Digest) -> None:
        """Take what the whole content must hash to."""
        self._digest = digest
        self._hash = hashlib.new(digest.partition(":")[0])
        self._buffer = memoryview(bytearray(_BUFFER))
        self._rest = self._buffer[:0]

    @property
    def level(self) -> int:
        """The number of bytes in the buffer that the client has not taken."""
        return len(self._rest)

    def put(self, data: bytes) -> int:
        """Take bytes into the buffer."""
        count = min(len(data), _BUFFER)
        self._buffer[:count] = data[:count]
        return self._count(count)

    def fill(self, connection: Connection, most: int) -> int:
        """Read from the peer."""
        return self._count(connection.receive_into(self._buffer[:most]))

    def complete(self) -> None:
        """Compare the digest."""
        _compare(self._hash.hexdigest(), self._digest)

    def drain(self, sink: Sink) -> int:
        """Send what is in the buffer."""
        count = os.write(sink.fileno(), self._rest)
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        """Nothing is held."""

    def _count(self, count: int) -> int:
        self._rest = self._buffer[:count]
        self._hash.update(self._rest)
        return count


def verify(data: bytes, digest: Digest) -> None:
    """Compare whole content with its digest; raises PeerError."""
    _compare(hashlib.new(digest.partition(":")[0], data).hexdigest(), digest)


def _compare(hexdigest: str, digest: Digest) -> None:
    if hexdigest != digest.partition(":")[2]:
        raise PeerError(Fault.LIED, f"the content's digest is not {digest}")
