"""Listening sockets for addresses as Go writes them: ``:5000``, ``host:port``, ``[::]:5000``."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct

_BACKLOG = 1024
_RECEIVE_BUFFER = 64 * 1024
_SEND_BUFFERS = 2 * 1024 * 1024
"""Bytes that the send buffers of more bodies may take, about: clients that read nothing fill them."""
_LEAST_SEND_BUFFER = 32 * 1024
_LEAST_ON_LOOPBACK = 128 * 1024
"""Segments are of 64 KiB there; what holds no two of them is sent in steps that each wait for an ACK."""
_SO_BUF_LOCK, _SOCK_RCVBUF_LOCK = 72, 2
"""Linux 5.17; linux/socket.h says what they are."""

_NO_IPV6 = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})


_LINGER_NOT = struct.pack("ii", 1, 0)


class ListenError(Exception):
    """An address cannot be listened on; the message says which and why."""


def reset(sock: socket.socket) -> None:
    """Close a socket so that its other end sees a reset, and what was not sent yet is dropped."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    sock.close()


def cork(sock: socket.socket, *, on: bool) -> None:
    """Send full packets only, or whatever is there: a body in full packets takes a third less time.

    What does not fill a packet waits for 0.2 s at most.
    """
    with contextlib.suppress(OSError):  # what is no TCP has no packets
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, on)


def share_send_buffers(sock: socket.socket, bodies: int, *, loopback: bool) -> None:
    """Give a socket its share of the send buffers: for one of so many bodies that are being written.

    For a single one the kernel finds the best size, up to 4 MiB: worth a third of the speed. What is in a
    buffer already stays there, however small it becomes.
    """
    if bodies == 1:
        with contextlib.suppress(OSError):  # an older kernel; then what a rush has left small stays small
            sock.setsockopt(socket.SOL_SOCKET, _SO_BUF_LOCK, _SOCK_RCVBUF_LOCK)
        return
    least = _LEAST_ON_LOOPBACK if loopback else _LEAST_SEND_BUFFER
    share = max(_SEND_BUFFERS // bodies, least)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, share // 2)  # the kernel doubles it


def open_listeners(address: str) -> list[socket.socket]:
    """Listen on all addresses that a text names; no host, or ``[::]``, means IPv6 and IPv4.

    Raises:
        ListenError: the text is no address, or the system refuses.
    """
    host, colon, port_text = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not port_text.isascii() or not port_text.isdigit() or (":" in host and not bracketed):
        raise ListenError(f"{address!r} is no address to listen on: give host:port, [IPv6]:port or :port")
    port = int(port_text)
    if port > 65535:
        raise ListenError(f"{address!r} is no address to listen on: there are ports up to 65535")
    host = host[1:-1] if bracketed else host
    try:
        return _open_all(port) if host in {"", "::"} else _open_each(host, port)
    except OSError as error:
        raise ListenError(f"cannot listen on {address}: {error.strerror or error}") from error


def _open_all(port: int) -> list[socket.socket]:
    try:
        return [_open(socket.AF_INET6, ("::", port), v6only=False)]
    except OSError as error:
        if error.errno not in _NO_IPV6:
            raise
        return [_open(socket.AF_INET, ("0.0.0.0", port))]  # noqa: S104  # all addresses were asked for


def _open_each(host: str, port: int) -> list[socket.socket]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listeners: list[socket.socket] = []
    try:
        for family, sockaddr in dict.fromkeys((entry[0], entry[4]) for entry in found):
            # Port 0 is any free port, but one for all addresses.
            chosen = listeners[0].getsockname()[1] if listeners else port
            listeners.append(_open(family, (sockaddr[0], chosen, *sockaddr[2:])))
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _open(family: int, sockaddr: tuple[object, ...], *, v6only: bool = True) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
        # Accepted sockets inherit this. Requests are small.
        listener.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER // 2
        )  # the kernel doubles it
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.settimeout(0)
        listener.bind(sockaddr)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
