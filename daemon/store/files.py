"""Content in files below ``blobs/<algorithm>/<hex>``, the way of both containerd and OCI image layouts."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress

from daemon.oci.digest import Digest, InvalidDigestError, parse_digest

ALGORITHMS = ("sha256", "sha512")

_MAX_READ = 1024 * 1024
_WOULD_WAIT = frozenset({errno.EAGAIN, errno.EOPNOTSUPP})
"""The file system has to ask the disk, or cannot tell."""


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
        count = min(count, _MAX_READ)
        buffer = bytearray(count)
        try:
            # What is in the page cache costs no thread, whose start takes longer than reading a manifest.
            got = os.preadv(self._fd, [buffer], offset, os.RWF_NOWAIT)
            if got or offset >= self._size:  # Linux 5.9 and 5.10 may say 0 before the end (preadv2(2), BUGS)
                return bytes(memoryview(buffer)[:got])
        except OSError as error:
            if error.errno not in _WOULD_WAIT:
                raise
        return await asyncio.to_thread(os.pread, self._fd, count, offset)

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
        InvalidDigestError: the digest is none.
        OSError: there is no such file (FileNotFoundError, NotADirectoryError), or it cannot be opened.
    """
    algorithm, _, encoded = parse_digest(digest).partition(":")
    with _Directory("blobs", root) as blobs, _Directory(algorithm, blobs) as directory:
        return FileContent(open_regular(encoded, directory))


def is_missing(root: str, digest: Digest) -> bool:
    """Tell whether a blob has no file where others have theirs; False where that cannot be seen."""
    try:
        algorithm, _, encoded = parse_digest(digest).partition(":")
    except InvalidDigestError:
        return True
    directory = f"{root}/blobs/{algorithm}"  # no Path: it is asked for every request
    try:
        os.stat(f"{directory}/{encoded}")  # noqa: PTH116 - the same
    except FileNotFoundError:
        return os.access(directory, os.F_OK)
    except OSError:
        return False
    return False


def list_blobs(root: int) -> list[Digest]:
    """Return the digests of all that ``open_blob`` would open."""
    digests: list[Digest] = []
    for algorithm in ALGORITHMS:
        try:
            with _Directory("blobs", root) as blobs, _Directory(algorithm, blobs) as directory:
                digests += _digests(algorithm, directory)
        except (FileNotFoundError, NotADirectoryError):
            continue
    return digests


def open_regular(name: str, directory: int) -> int:
    """Open a regular file in a directory; FileNotFoundError when there is none of that name."""
    try:
        # Without O_NONBLOCK, opening a FIFO would wait for a writer.
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:  # a symbolic link, a socket
            raise FileNotFoundError(errno.ENOENT, "not a regular file", name) from error
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileNotFoundError(errno.ENOENT, "not a regular file", name)
    return fd


def _digests(algorithm: str, directory: int) -> Iterator[Digest]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                with suppress(InvalidDigestError):
                    yield parse_digest(f"{algorithm}:{entry.name}")


class _Directory:
    """A directory, open for a moment."""

    def __init__(self, name: str, parent: int) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(name, flags, dir_fd=parent)

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
