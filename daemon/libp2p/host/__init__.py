"""The host: sockets, connections and streams on asyncio, around the machines of `daemon.libp2p`."""

from __future__ import annotations

from daemon.libp2p.host.errors import DialError, SelfDialError, StreamError
from daemon.libp2p.host.host import Handler, Host, Observer
from daemon.libp2p.host.limits import Limits
from daemon.libp2p.host.stream import Stream

__all__ = [
    "DialError",
    "Handler",
    "Host",
    "Limits",
    "Observer",
    "SelfDialError",
    "Stream",
    "StreamError",
]
