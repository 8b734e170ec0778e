"""Content in files below ``blobs/<algorithm>/<hex>``, the way of both containerd and OCI image layouts."""

from __future__ import annotations

import asyncio
import os
import stat

from daemon.oci.digest import Digest, parse_digest
from daemon.store.base import NotFoundError

_MAX_READ = 1024 * 1024


class FileContent:
    """A blob's open file."""

    def __init__(self, fd: int) -> None:
        """Take over an open file descriptor."""
        self._fd = fd
        self._size = os.fstat(fd).st_size

    @property
    def size(self) -> int:
        """In bytes, as it was when the file was opened."""
        return self._size

    def fileno(self) -> int:
        """Return the file descriptor; it is this object's to close."""
        return self._fd

    async def read(self, offset: int, count: int) -> bytes:
        """Return up to ``count`` bytes, 1 MiB at most; OSError when the disk fails."""
        return await asyncio.to_thread(os.pread, self._fd, min(count, _MAX_READ), offset)

    def close(self) -> None:
        """Close the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def open_blob(root: int, digest: Digest) -> FileContent:
    """Open a blob below a directory, given as a file descriptor.

    No symbolic link is followed below the directory and nothing but a regular file is opened, so that nothing
    outside can be reached.

    Raises:
        OSError: there is no such file, or it cannot be opened.
    """
    algorithm, _, encoded = parse_digest(digest).partition(":")
    with _Directory("blobs", root) as blobs, _Directory(algorithm, blobs) as directory:
        return FileContent(open_regular(encoded, directory))


def open_regular(name: str, directory: int) -> int:
    """Open a regular file in a directory; FileNotFoundError when there is something else of that name."""
    # Without O_NONBLOCK, opening a FIFO would wait for a writer.
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileNotFoundError(f"{name} is not a regular file")
    return fd


def not_found(digest: Digest) -> NotFoundError:
    """Make the error for content that is not there."""
    return NotFoundError(f"content {digest} is not in the store")


class _Directory:
    """A directory, open for a moment."""

    def __init__(self, name: str, parent: int) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(name, flags, dir_fd=parent)

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
