"""What a session tells its owner."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The peer opened a stream."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class DataReceived:
    """Data of a stream. It counts as unread until ``consumed`` is called."""

    stream_id: int
    data: bytes


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The peer sends nothing more on a stream; it may still read."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class StreamReset:
    """A stream is gone, both ways, with what was unread; the peer did that, or a limit of ours."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class StreamWritable:
    """A stream that did not take all that was to be sent takes more."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class PongReceived:
    """The peer answered a ping."""

    value: int


@dataclass(frozen=True, slots=True)
class PeerLeaving:
    """The peer wants no more streams. Those that are open go on, unless it ends the connection as well."""

    code: int


Event = StreamOpened | DataReceived | StreamEnded | StreamReset | StreamWritable | PongReceived | PeerLeaving
