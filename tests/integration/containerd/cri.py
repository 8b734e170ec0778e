"""The calls of the kubelet that are about images: ImageService of the Container Runtime Interface (CRI)."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError

_SERVICE = "/runtime.v1.ImageService"


def pull(socket: Path, image: str, *, user: str = "", password: str = "", limit: float = 60.0) -> None:
    """Pull an image, with the credentials of a pull secret if there are any; ``limit`` is in seconds.

    Raises:
        grpclib.GRPCError: it could not be pulled.
    """
    # PullImageRequest: image = 1, auth = 2; ImageSpec: image = 1; AuthConfig: username = 1, password = 2
    request = _field(1, _field(1, image.encode()))
    if user:
        request += _field(2, _field(1, user.encode()) + _field(2, password.encode()))
    _call(socket, "PullImage", request, limit)


def remove(socket: Path, image: str, limit: float = 60.0) -> None:
    """Remove an image, as the kubelet's garbage collection does.

    Raises:
        grpclib.GRPCError: it could not be removed.
    """
    _call(socket, "RemoveImage", _field(1, _field(1, image.encode())), limit)


def is_ready(socket: Path) -> bool:
    """Tell whether images can be asked for: containerd says that it is up a moment before."""
    try:
        _call(socket, "ImageFsInfo", b"", limit=10.0)
    except (GRPCError, OSError):
        return False
    return True


def _call(socket: Path, method: str, request: bytes, limit: float) -> None:
    with closing(asyncio.new_event_loop()) as loop:
        loop.run_until_complete(_answer(socket, method, request, limit))


async def _answer(socket: Path, method: str, request: bytes, limit: float) -> None:
    channel = Channel(path=str(socket), codec=_Bytes())
    try:
        await UnaryUnaryMethod(channel, f"{_SERVICE}/{method}", bytes, bytes)(request, timeout=limit)
    finally:
        channel.close()


def _field(number: int, content: bytes) -> bytes:
    """Encode a field of bytes, or of a message that is encoded already."""
    length, size = len(content), b""
    while length > 127:
        size += bytes([length & 127 | 128])
        length >>= 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + content


class _Bytes(CodecBase):
    """Messages that are encoded already."""

    __content_subtype__ = "proto"

    def encode(self, message: bytes, message_type: Any) -> bytes:
        return message

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data
