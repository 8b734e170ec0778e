"""Yamux: many streams on one connection (hashicorp/yamux, spec.md; libp2p specifications, yamux)."""

from __future__ import annotations

from daemon.libp2p.yamux.events import (
    DataReceived,
    Event,
    PeerLeaving,
    PongReceived,
    StreamEnded,
    StreamOpened,
    StreamReset,
    StreamWritable,
)
from daemon.libp2p.yamux.keepalive import Keepalive, PeerSilentError
from daemon.libp2p.yamux.session import WINDOW, GoAway, Limits, Session, UnavailableError

PROTOCOL = "/yamux/1.0.0"

__all__ = [
    "PROTOCOL",
    "WINDOW",
    "DataReceived",
    "Event",
    "GoAway",
    "Keepalive",
    "Limits",
    "PeerLeaving",
    "PeerSilentError",
    "PongReceived",
    "Session",
    "StreamEnded",
    "StreamOpened",
    "StreamReset",
    "StreamWritable",
    "UnavailableError",
]
