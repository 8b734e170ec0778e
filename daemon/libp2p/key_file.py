"""Keeps a node's key on disk, so that its peer ID survives restarts.

The file is upstream Spegel's: ``private.key`` in the data directory, PKCS#8 in PEM, mode 0600.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from daemon.libp2p.identity import PrivateKey

NAME = "private.key"
_MAX_SIZE = 16 * 1024


class KeyFileError(Exception):
    """The key file cannot be used; the message names it and says what to do."""


def load_or_create(directory: Path) -> PrivateKey:
    """Return the key kept in a directory; make both when they are not there.

    Raises:
        KeyFileError: there is a file but no whole Ed25519 key in it, others may read it, or it cannot be
            read or written. It is never replaced: that would change the node's ID behind its owner's back.
    """
    path = directory / NAME
    try:
        content = _read(path)
        if content is None:
            return _create(path)
    except OSError as error:
        raise KeyFileError(f"the node's key {path} cannot be kept: {error.strerror}") from error
    return PrivateKey(_parse(path, content))


def _read(path: Path) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        if path.is_symlink():
            raise KeyFileError(
                f"the node's key {path} is a link to what is not there; restore that, or remove the link:"
                " the node then gets a new key and ID"
            ) from None
        return None
    with open(descriptor, "rb") as file:  # noqa: PTH123 (an open descriptor has no path)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"the node's key {path} is not a regular file")
        if status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            raise KeyFileError(
                f"the node's key {path} has mode {mode:04o}, so others can use it; chmod 600 it, or remove it"
                " when they may have: the node then gets a new key and ID"
            )
        return file.read(_MAX_SIZE)


def _parse(path: Path, content: bytes) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm, InternalError) as error:
        raise KeyFileError(
            f"the node's key {path} holds no whole private key in PEM (PKCS#8, not encrypted); restore it, or"
            " remove it: the node then gets a new key and ID"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(
            f"the node's key {path} is not an Ed25519 key; remove it: the node then gets a new key and ID"
        )
    return key


def _create(path: Path) -> PrivateKey:
    """Write a new key so that a crash at any moment leaves either none or a whole one."""
    key = PrivateKey.generate()
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    content = key.ed25519.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    unfinished = path.with_name(NAME + ".new")
    unfinished.unlink(missing_ok=True)  # of a start that did not get further
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 (an open descriptor has no path)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    unfinished.rename(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return key
