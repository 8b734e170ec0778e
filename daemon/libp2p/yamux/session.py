"""One end of a connection that carries many streams.

A session takes bytes as they come and gives events; what is to be sent gathers until ``take_output``. It
holds no data that was received: that goes to its owner, who says by ``consumed`` when it is done with it,
so that the peer may send as much again. It remembers no stream that both sides have ended.

Where the specification is silent this does as go-yamux does: frames for unknown streams are passed over,
since they can cross our own reset on the way, and so is data behind the peer's end of a stream.

What is received at once is taken in as a whole before its owner hears of it. So that owner and session always
mean the same stream by a number, none may be opened in the place of one that ended in the same piece. No
honest peer uses a number twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from daemon.libp2p.errors import LocalProtocolError, RemoteProtocolError
from daemon.libp2p.yamux import frames
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
from daemon.libp2p.yamux.frames import ACK, DATA, FIN, RST, SYN, WINDOW_UPDATE

WINDOW = 256 * 1024
"""Bytes that may be under way to a stream's reader; the same at both ends, and never widened here."""

_MAX_FRAME = 64 * 1024
"""Bytes of data in one frame, so that a large message leaves room for other streams' frames in between."""
_MAX_WINDOW = 2**32 - 1
_MAX_STREAM_ID = 2**32 - 1


class GoAway(IntEnum):
    """Why a session ends."""

    NORMAL = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2


class UnavailableError(Exception):
    """No stream can be opened now: the session is ending, or too many wait to be acknowledged."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a peer can take up of one session."""

    inbound_streams: int = 256
    """Streams it opened that are not over; a further one is reset."""
    backlog: int = 256
    """Of these, and of ours, those that are not acknowledged."""
    unread: int = 1024 * 1024
    """Bytes received and not consumed, of all streams; the stream that goes beyond is reset."""


class _Stream:
    __slots__ = (
        "acknowledged",
        "blocked",
        "ended",
        "finished",
        "ignored",
        "introduced",
        "receive_window",
        "send_window",
        "stream_id",
        "unread",
    )

    def __init__(self, stream_id: int) -> None:
        self.stream_id = stream_id
        self.send_window = WINDOW
        self.receive_window = WINDOW
        self.unread = 0
        self.introduced = False  # SYN or ACK was sent, whichever is ours to send
        self.acknowledged = False  # an ACK was received, or sent
        self.finished = False  # we sent FIN
        self.ended = False  # the peer did
        self.ignored = False  # we do not read what else it sends
        self.blocked = False  # more was to be sent than the window took


class Session:
    """One end of a connection's session; the client is the one that dialled."""

    def __init__(self, *, client: bool, limits: Limits = Limits()) -> None:
        self._limits = limits
        self._parity = 1 if client else 0
        self._next_id = 1 if client else 2
        self._streams: dict[int, _Stream] = {}
        self._inbound = 0
        self._unacknowledged = {True: 0, False: 0}  # inbound?
        self._unread = 0
        self._leaving = False
        self._peer_leaving = False
        self._pings: set[int] = set()
        self._output: list[bytes] = []
        self._over: set[int] = set()  # numbers of streams that ended since the last piece came in

        self._header = b""  # of a frame, not whole yet
        self._body_left = 0
        self._body_stream: _Stream | None = None
        self._body_ends_stream = False

    @property
    def streams(self) -> int:
        """How many streams are not over."""
        return len(self._streams)

    # --- sending ---------------------------------------------------------------------------------------

    @property
    def has_output(self) -> bool:
        """Whether anything is to be sent."""
        return bool(self._output)

    def take_output(self) -> list[bytes]:
        """Return what is to be sent, in pieces, and forget it."""
        output, self._output = self._output, []
        return output

    def open_stream(self) -> int:
        """Open a stream and return its number. The peer learns of it by the first thing sent on it.

        Raises:
            UnavailableError: the session is ending, or ``Limits.backlog`` streams wait for the peer.
        """
        if self._leaving or self._peer_leaving:
            raise UnavailableError("the session is ending")
        if self._unacknowledged[False] >= self._limits.backlog:
            raise UnavailableError(f"{self._limits.backlog} streams are not acknowledged by the peer")
        if self._next_id > _MAX_STREAM_ID:
            raise UnavailableError("the session's stream numbers are used up")
        stream_id = self._next_id
        self._next_id += 2
        self._streams[stream_id] = _Stream(stream_id)
        self._unacknowledged[False] += 1
        return stream_id

    def send(self, stream_id: int, data: bytes | memoryview) -> int:
        """Send data on a stream, as much as its window takes, and return how much that was.

        When that was not all, StreamWritable tells when to send the rest.
        """
        stream = self._writable(stream_id)
        size = min(len(data), stream.send_window)
        for start in range(0, size, _MAX_FRAME):
            chunk = bytes(data[start : min(start + _MAX_FRAME, size)])
            self._frame(DATA, self._introduction(stream), stream_id, len(chunk))
            self._output.append(chunk)
        stream.send_window -= size
        stream.blocked = size < len(data)
        return size

    def finish(self, stream_id: int) -> None:
        """Tell the peer that nothing more will be sent on a stream; it can still be read.

        This is a frame of its own: go-yamux takes note of the end before the data of the same frame, and a
        reader that is woken in between misses that data.
        """
        stream = self._writable(stream_id)
        self._frame(WINDOW_UPDATE, self._introduction(stream) | FIN, stream_id, 0)
        stream.finished = True
        stream.blocked = False
        self._forget_if_over(stream)

    def ignore(self, stream_id: int) -> None:
        """Pass over what else comes in on a stream, and what of it is not consumed."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.ignored = True
            self._unread -= stream.unread
            stream.unread = 0
            self._forget_if_over(stream)

    def reset(self, stream_id: int) -> None:
        """End a stream both ways at once."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._reset(stream)

    def consumed(self, stream_id: int, size: int) -> None:
        """Say that received data was used, so that the peer may send more; nothing for streams that are over.

        Raises:
            LocalProtocolError: so much was not received.
        """
        stream = self._streams.get(stream_id)
        if stream is None or stream.ignored:
            return
        if size > stream.unread:
            raise LocalProtocolError(f"{size} bytes consumed of {stream.unread} on stream {stream_id}")
        stream.unread -= size
        self._unread -= size
        if stream.ended:
            self._forget_if_over(stream)
            return
        credit = WINDOW - stream.receive_window - stream.unread
        if credit >= WINDOW // 2:
            stream.receive_window += credit
            self._frame(WINDOW_UPDATE, self._introduction(stream), stream_id, credit)

    def ping(self, value: int) -> None:
        """Ask for a PongReceived with the same value, of 32 bits."""
        self._pings.add(value)
        self._frame(frames.PING, SYN, 0, value)

    def leave(self, code: GoAway) -> None:
        """Tell the peer that the session ends; streams that it still opens are reset."""
        self._leaving = True
        self._frame(frames.GO_AWAY, 0, 0, code)

    # --- receiving -------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> list[Event]:
        """Take in what was received and tell what happened.

        Raises:
            RemoteProtocolError: the peer broke the rules. The session is over; ``leave`` can tell it why.
        """
        events: list[Event] = []
        self._over.clear()
        if self._header:
            data = self._header + data
            self._header = b""
        position, end = 0, len(data)
        while position < end:
            if self._body_left:
                size = min(self._body_left, end - position)
                self._body_left -= size
                self._body(data[position : position + size], events)
                position += size
            elif end - position < frames.HEADER.size:
                self._header = data[position:]
                break
            else:
                version, kind, flags, stream_id, length = frames.HEADER.unpack_from(data, position)
                position += frames.HEADER.size
                if version != frames.VERSION:
                    raise RemoteProtocolError(f"a frame of version {version}")
                if kind in (DATA, WINDOW_UPDATE):
                    self._stream_frame(kind, flags, stream_id, length, events)
                elif kind == frames.PING:
                    self._ping_frame(flags, length, events)
                elif kind == frames.GO_AWAY:
                    self._peer_leaving = True
                    events.append(PeerLeaving(length))
                else:
                    raise RemoteProtocolError(f"a frame of type {kind}")
        return events

    def _stream_frame(self, kind: int, flags: int, stream_id: int, length: int, events: list[Event]) -> None:
        is_data = kind == DATA
        if is_data and length > WINDOW:
            raise RemoteProtocolError(f"{length} bytes in one frame, more than any window")
        if flags & SYN:
            self._accept(stream_id, events)
        stream = self._streams.get(stream_id)
        if stream is not None and flags & ACK and not stream.acknowledged and not self._is_inbound(stream):
            self._acknowledge(stream)
        if stream is not None and flags & RST:
            self._forget(stream)
            events.append(StreamReset(stream_id))
            stream = None
        if is_data:
            if stream is not None and length > stream.receive_window:
                raise RemoteProtocolError(f"more data on stream {stream_id} than its window allows")
            self._body_left = length
            self._body_stream = stream
            self._body_ends_stream = bool(flags & FIN)
            if length == 0:
                self._body(b"", events)
        elif stream is not None:
            stream.send_window = min(stream.send_window + length, _MAX_WINDOW)
            if length and stream.blocked:
                stream.blocked = False
                events.append(StreamWritable(stream_id))
            if flags & FIN:
                self._end(stream, events)

    def _body(self, data: bytes, events: list[Event]) -> None:
        """Take in data of the current frame; the last of it when nothing is left."""
        stream = self._body_stream
        if stream is None or stream.stream_id not in self._streams:
            return
        stream.receive_window -= len(data)
        if data and not (stream.ended or stream.ignored):
            stream.unread += len(data)
            self._unread += len(data)
            if self._unread > self._limits.unread:
                self._reset(stream)
                events.append(StreamReset(stream.stream_id))
                return
            events.append(DataReceived(stream.stream_id, data))
        if self._body_left == 0 and self._body_ends_stream:
            self._end(stream, events)

    def _ping_frame(self, flags: int, value: int, events: list[Event]) -> None:
        if flags & SYN:
            self._frame(frames.PING, ACK, 0, value)
        elif value in self._pings:
            self._pings.discard(value)
            events.append(PongReceived(value))

    # --- streams' lives --------------------------------------------------------------------------------

    def _accept(self, stream_id: int, events: list[Event]) -> None:
        if stream_id == 0 or stream_id % 2 == self._parity:
            raise RemoteProtocolError(f"{stream_id} is no number for a stream that the peer opens")
        if stream_id in self._streams or stream_id in self._over:
            raise RemoteProtocolError(f"stream {stream_id} is opened twice")
        full = self._inbound >= self._limits.inbound_streams
        if self._leaving or full or self._unacknowledged[True] >= self._limits.backlog:
            self._frame(WINDOW_UPDATE, RST, stream_id, 0)
            return
        self._streams[stream_id] = _Stream(stream_id)
        self._inbound += 1
        self._unacknowledged[True] += 1
        events.append(StreamOpened(stream_id))

    def _introduction(self, stream: _Stream) -> int:
        """Return the flag that the first frame on a stream has: it opens the stream or acknowledges it."""
        if stream.introduced:
            return 0
        stream.introduced = True
        if not self._is_inbound(stream):
            return SYN
        self._acknowledge(stream)
        return ACK

    def _acknowledge(self, stream: _Stream) -> None:
        stream.acknowledged = True
        self._unacknowledged[self._is_inbound(stream)] -= 1

    def _end(self, stream: _Stream, events: list[Event]) -> None:
        if not stream.ended:
            stream.ended = True
            if not stream.ignored:
                events.append(StreamEnded(stream.stream_id))
            self._forget_if_over(stream)

    def _reset(self, stream: _Stream) -> None:
        if stream.introduced or self._is_inbound(stream):
            self._frame(WINDOW_UPDATE, RST, stream.stream_id, 0)
        self._forget(stream)

    def _forget_if_over(self, stream: _Stream) -> None:
        if stream.finished and (stream.ended or stream.ignored) and not stream.unread:
            self._forget(stream)

    def _forget(self, stream: _Stream) -> None:
        del self._streams[stream.stream_id]
        self._over.add(stream.stream_id)
        self._unread -= stream.unread
        if not stream.acknowledged:
            self._acknowledge(stream)
        if self._is_inbound(stream):
            self._inbound -= 1

    def _is_inbound(self, stream: _Stream) -> bool:
        return stream.stream_id % 2 != self._parity

    def _writable(self, stream_id: int) -> _Stream:
        stream = self._streams.get(stream_id)
        if stream is None or stream.finished:
            raise LocalProtocolError(f"stream {stream_id} is not open for writing")
        return stream

    def _frame(self, kind: int, flags: int, stream_id: int, length: int) -> None:
        self._output.append(frames.header(kind, flags, stream_id, length))
