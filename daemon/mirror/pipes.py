"""The pipes through which the kernel moves bytes from socket to socket."""

from __future__ import annotations

import fcntl
import os

_SIZES = (1024 * 1024, 512 * 1024, 256 * 1024)
"""Bytes, best first. The kernel refuses when the user's pipes take too much together; then 64 KiB must do."""
_IDLE = 8


class Pipe:
    """A non-blocking pipe that knows how much is in it."""

    def __init__(self) -> None:
        self.source, self.target = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.size = _enlarge(self.target)
        self.level = 0
        """Bytes that are in it."""

    def close(self) -> None:
        """Close both ends."""
        os.close(self.source)
        os.close(self.target)


class PipePool:
    """Keeps a few pipes: making one costs more than a small transfer."""

    def __init__(self) -> None:
        self._idle: list[Pipe] = []

    def take(self) -> Pipe:
        """Return an empty pipe; raises OSError when no more files may be open."""
        return self._idle.pop() if self._idle else Pipe()

    def give(self, pipe: Pipe) -> None:
        """Take a pipe back. One with bytes in it is closed: they belong to nobody else's transfer."""
        if pipe.level or len(self._idle) >= _IDLE:
            pipe.close()
        else:
            self._idle.append(pipe)

    def close(self) -> None:
        """Close the idle pipes."""
        while self._idle:
            self._idle.pop().close()


def _enlarge(pipe: int) -> int:
    for size in _SIZES:
        try:
            return fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, size)
        except OSError:
            continue
    return fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)
