"""Two sessions joined by pipes that fragment at will, beside the simplest model of what they are for.

The model of a stream is two lists of bytes, one each way. Whatever the order in which streams are opened,
written, read, finished, reset and in which bits of the pipes come through, each reader gets what was written,
in order, never more than a window ahead of what it consumed, and both ends forget what is over.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from daemon.libp2p.yamux import (
    WINDOW,
    DataReceived,
    Event,
    Limits,
    Session,
    StreamEnded,
    StreamOpened,
    StreamReset,
    StreamWritable,
    UnavailableError,
)

_PATTERN = bytes(range(251)) * 1100


@dataclass
class Half:
    """One direction of a stream."""

    written: int = 0
    """Bytes that the writer wanted to send."""
    taken: int = 0
    """Bytes that its session took."""
    received: int = 0
    consumed: int = 0
    finished: bool = False
    ended: bool = False


@dataclass
class Stream:
    """A stream and its two directions, by the side that writes."""

    stream_id: int
    halves: dict[bool, Half] = field(default_factory=lambda: {True: Half(), False: Half()})
    known_at: set[bool] = field(default_factory=set)
    reset_by: set[bool] = field(default_factory=set)
    gone_at: set[bool] = field(default_factory=set)


sides = st.booleans()
sizes = st.integers(0, 400) | st.sampled_from([WINDOW - 1, WINDOW, WINDOW + 1])


class Sessions(RuleBasedStateMachine):
    streams = Bundle("streams")

    def __init__(self) -> None:
        super().__init__()
        limits = Limits(inbound_streams=50, backlog=5, unread=2**40)
        self.sessions = {
            True: Session(client=True, limits=limits),
            False: Session(client=False, limits=limits),
        }
        self.pipes = {True: b"", False: b""}
        self.open: dict[int, Stream] = {}

    @rule(target=streams, side=sides)
    def open_stream(self, side: bool) -> object:
        try:
            stream = Stream(self.sessions[side].open_stream())
        except UnavailableError:
            return multiple()
        stream.known_at.add(side)
        self.open[stream.stream_id] = stream
        return stream

    @rule(stream=streams, side=sides, size=sizes)
    def write(self, stream: Stream, side: bool, size: int) -> None:
        half = stream.halves[side]
        if self._usable(stream, side) and not half.finished:
            half.written += size
            self._send(stream, side)

    @rule(stream=streams, side=sides)
    def finish(self, stream: Stream, side: bool) -> None:
        half = stream.halves[side]
        if self._usable(stream, side) and not half.finished and half.taken == half.written:
            self.sessions[side].finish(stream.stream_id)
            half.finished = True

    @rule(stream=streams, side=sides)
    def reset(self, stream: Stream, side: bool) -> None:
        if self._usable(stream, side):
            self.sessions[side].reset(stream.stream_id)
            stream.reset_by.add(side)
            stream.gone_at.add(side)

    @rule(stream=streams, side=sides, share=st.floats(0, 1))
    def consume(self, stream: Stream, side: bool, share: float) -> None:
        half = stream.halves[not side]
        size = int((half.received - half.consumed) * share)
        if self._usable(stream, side):
            self.sessions[side].consumed(stream.stream_id, size)
            half.consumed += size

    @rule(side=sides, share=st.floats(0, 1))
    def deliver(self, side: bool, share: float) -> None:
        """Let some of what a side has sent come through, in two pieces."""
        self.pipes[side] += b"".join(self.sessions[side].take_output())
        size = int(len(self.pipes[side]) * share)
        for piece in (self.pipes[side][: size // 3], self.pipes[side][size // 3 : size]):
            for event in self.sessions[not side].receive(piece):
                self._happened(event, at=not side)
        self.pipes[side] = self.pipes[side][size:]

    @invariant()
    def no_reader_is_ahead_of_its_window(self) -> None:
        for stream in self.open.values():
            for half in stream.halves.values():
                assert half.consumed <= half.received <= half.taken <= half.written
                assert half.received - half.consumed <= WINDOW
                assert half.taken - half.consumed <= WINDOW

    def teardown(self) -> None:
        """Write some windows more, let all come through and be consumed: nothing is missing, nothing left."""
        for stream in self.open.values():
            for side in (True, False):
                self.write(stream, side, 2 * WINDOW + 1)
        for _ in range(30):
            for side in (True, False):
                self.deliver(side, 1.0)
            self.no_reader_is_ahead_of_its_window()
            for stream in self.open.values():
                for side in (True, False):
                    self.consume(stream, side, 1.0)
                    self.finish(stream, side)
        for stream in self.open.values():
            if stream.known_at == {True, False} and not stream.reset_by:
                for half in stream.halves.values():
                    assert half.received == half.written
                    assert half.ended
        assert self.sessions[True].streams == self.sessions[False].streams == 0

    def _send(self, stream: Stream, side: bool) -> None:
        half = stream.halves[side]
        start = (half.taken + stream.stream_id) % 251
        data = _PATTERN[start : start + half.written - half.taken]
        half.taken += self.sessions[side].send(stream.stream_id, data)

    def _happened(self, event: Event, at: bool) -> None:
        assert not isinstance(event, StreamOpened) or event.stream_id in self.open
        stream = self.open[event.stream_id]  # type: ignore[union-attr]  # no session-wide event occurs here
        half = stream.halves[not at]
        match event:
            case StreamOpened():
                assert at not in stream.known_at
                stream.known_at.add(at)
            case DataReceived(_, data):
                start = (half.received + stream.stream_id) % 251
                assert data == _PATTERN[start : start + len(data)]
                half.received += len(data)
            case StreamEnded():
                assert half.finished
                assert half.received == half.written
                half.ended = True
            case StreamReset():
                assert stream.reset_by == {not at}
                stream.gone_at.add(at)
            case StreamWritable():
                self._send(stream, at)

    def _usable(self, stream: Stream, side: bool) -> bool:
        return side in stream.known_at and side not in stream.gone_at


Sessions.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestSessions = Sessions.TestCase
