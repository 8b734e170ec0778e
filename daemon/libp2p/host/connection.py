"""An established connection: one peer, many streams."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Collection
from typing import Protocol

from daemon.libp2p import multistream, yamux
from daemon.libp2p.errors import RemoteProtocolError
from daemon.libp2p.host.errors import StreamError
from daemon.libp2p.host.limits import Limits
from daemon.libp2p.host.stream import Stream
from daemon.libp2p.host.wire import CONGESTED, Wire
from daemon.libp2p.identity import PeerId
from daemon.libp2p.noise import Secured
from daemon.libp2p.noise_xx import NonceExhaustedError

logger = logging.getLogger(__name__)


_TURN = 4 * 1024
"""Bytes that are dealt with before others have their turn.

It takes milliseconds when they are made of the smallest frames there are, or of streams that are opened: so
long does everybody wait for each connection of somebody who means harm.
"""


STREAM = 3 * 1024
"""Bytes, about, that a stream which a peer opened takes up, with whoever serves it."""


class Owner(Protocol):
    """What a connection needs of the host."""

    limits: Limits

    @property
    def protocols(self) -> Collection[str]:
        """What peers may open streams for."""

    def serve(self, stream: Stream) -> None:
        """Take over a stream that the peer opened and whose protocol was agreed on."""

    def ended(self, connection: Connection, reason: str) -> None:
        """Forget a connection."""

    def holds(self, size: int) -> None:
        """Take note that a peer takes up so many bytes more, or less."""


class Connection:
    """Streams to one peer. Everything is done in callbacks; tasks wait in `Stream`."""

    def __init__(self, wire: Wire, secured: Secured, owner: Owner, *, dialled: bool) -> None:
        """Take over an upgraded connection; nothing is read before ``start``."""
        self._loop = asyncio.get_running_loop()
        self._wire = wire
        self._transport = secured.transport
        self._owner = owner
        limits = owner.limits
        self._session = yamux.Session(client=dialled, limits=limits.per_peer)
        now = self._loop.time()
        self._keepalive = yamux.Keepalive(now, interval=limits.ping_interval, patience=limits.ping_patience)
        self._pings = itertools.count()
        self._streams: dict[int, Stream] = {}
        self._input: deque[bytes] = deque()
        self._answers: list[tuple[int, bytes]] = []  # of negotiations, while input is being processed
        self._unsent = 0
        self._flushing: asyncio.Handle | None = None
        self._drained: list[asyncio.Future[None]] = []
        self.peer_id: PeerId = secured.peer_id
        self.dialled = dialled
        self.remote = wire.remote
        """IP address and port of the other end."""
        self.since = now
        self.idle_since: float | None = now
        """Since when there are no streams; None while there are."""
        self.retired = False
        """Whether no stream is to be opened any more: another connection took over, or the peer leaves."""
        self.open = True
        self.held = 0
        """Bytes that the peer takes up: its streams, what nobody has read, what it has not read itself."""
        self._unsent_held = 0

    def start(self, rest: list[bytes]) -> None:
        """Begin to read; ``rest`` came in with the handshake."""
        self._wire.replace(self._received, self._end)
        self._wire.drained = self._wake_writers
        self._process(rest)

    def open_stream(self, protocol: str) -> Stream:
        """Open a stream. The peer learns of it, and of the protocol, with the first bytes that are sent.

        Raises:
            StreamError: the connection is ending, or has too many streams that the peer did not notice yet.
        """
        if not self.open:
            raise StreamError("the connection is closed")
        try:
            number = self._session.open_stream()
        except yamux.UnavailableError as error:
            raise StreamError(str(error)) from error
        return self._add(number, Stream(self, number, multistream.Initiator([protocol])))

    def tick(self, now: float) -> None:
        """Do what is due: end streams and connections that are silent."""
        limits = self._owner.limits
        self._hold_unsent()
        for number, stream in list(self._streams.items()):
            patience = limits.silence if stream.protocol is not None else limits.negotiation
            if stream.inbound and now - stream.active > patience:
                self._break(number, StreamError("the peer left the stream silent"))
        try:
            if self._keepalive.poll(now):
                self._session.ping(next(self._pings) & 0xFFFFFFFF)
        except yamux.PeerSilentError as error:
            self.abort(str(error))
        self._flush_soon()

    def close(self) -> None:
        """Say goodbye and close; streams that are still open are lost."""
        self._leave(yamux.GoAway.NORMAL, "the connection was closed")

    def abort(self, reason: str) -> None:
        """Close at once."""
        self._wire.abort()
        self._end(reason)

    # --- what streams call -------------------------------------------------------------------------------

    @property
    def congested(self) -> bool:
        """Whether writers should wait for ``drained``."""
        return self._wire.buffered + self._unsent > CONGESTED

    async def drained(self) -> None:
        """Wait until it makes sense to look again whether more can be sent."""
        self._flush()
        if self.congested:
            waiter = self._loop.create_future()
            self._drained.append(waiter)
            await waiter

    def send(self, number: int, data: bytes | memoryview) -> int:
        """Send on a stream what its window takes; return how much that was."""
        sent = self._session.send(number, data)
        self._unsent += sent
        self._flush_soon()
        return sent

    def finish(self, number: int) -> None:
        """End a stream's sending side, once; what it said is complete, and waits for nothing but others."""
        self._session.finish(number)
        if len(self._streams) == 1:
            self._flush()
        else:
            self._flush_soon()

    def ignore(self, number: int) -> None:
        """Forget a stream whose sending side was ended."""
        self._session.ignore(number)
        self._remove(number)

    def reset(self, number: int) -> None:
        """End a stream and forget it."""
        self._session.reset(number)
        self._remove(number)
        self._flush_soon()

    def consumed(self, number: int, size: int) -> None:
        """Let the peer send so much more."""
        self._session.consumed(number, size)
        self._flush_soon()

    def holds(self, size: int) -> None:
        """Count bytes that the peer takes up."""
        if size and self.open:
            self.held += size
            self._owner.holds(size)

    # --- what comes in -----------------------------------------------------------------------------------

    def _received(self, data: memoryview) -> None:
        try:
            plaintexts = self._transport.receive(data)
        except (RemoteProtocolError, NonceExhaustedError) as error:
            self.abort(str(error))
            return
        self._process(plaintexts)

    def _process(self, plaintexts: list[bytes]) -> None:
        self._input += plaintexts
        self._work()

    def _work(self) -> None:
        """Deal with what came in; if it is much, with the rest of it after others."""
        self._hold_unsent()
        now = self._loop.time()
        self._keepalive.heard(now)
        left = _TURN
        try:
            while self._input and left:
                piece = self._input.popleft()
                if len(piece) > left:
                    self._input.appendleft(piece[left:])
                    piece = piece[:left]
                left -= len(piece)
                for event in self._session.receive(piece):
                    self._happened(event, now)
                    if not self.open:
                        return
        except RemoteProtocolError as error:
            logger.debug("%s breaks a rule: %s", self.peer_id, error)
            self._leave(yamux.GoAway.PROTOCOL_ERROR, str(error))
            return
        if self._input:
            self._wire.pause()
            self._loop.call_soon(self._work)
        else:
            self._wire.resume()
        answers, self._answers = self._answers, []
        for number, answer in answers:
            if number in self._streams:  # it may have been reset behind what is answered
                self._session.send(number, answer)
        self._flush_soon()

    def _happened(self, event: yamux.Event, now: float) -> None:
        match event:
            case yamux.PeerLeaving():
                self.retired = True
            case yamux.PongReceived():
                pass
            case yamux.StreamOpened(number):
                stream = Stream(self, number, multistream.Responder(self._owner.protocols))
                self._add(number, stream).active = now
            case _ if (known := self._streams.get(event.stream_id)) is not None:
                self._happened_on(known, event, now)  # others were reset by an event before this one

    def _happened_on(self, stream: Stream, event: yamux.Event, now: float) -> None:
        match event:
            case yamux.DataReceived(number, data):
                stream.active = now
                self._data(number, stream, data)
            case yamux.StreamEnded(number):
                stream.peer_ended()
                if stream.inbound and stream.protocol is None:
                    self._break(number, StreamError("the peer ended the stream"))
            case yamux.StreamReset(number):
                self._remove(number)
                stream.fail(StreamError("the stream was reset by the peer"))
            case yamux.StreamWritable():
                stream.writable()

    def _data(self, number: int, stream: Stream, data: bytes) -> None:
        negotiating = stream.protocol is None
        if negotiating:
            self._session.consumed(number, len(data))
        try:
            answer = stream.received(data)
        except RemoteProtocolError as error:
            self._break(number, error)
            return
        except multistream.NotSupportedError as error:
            self._break(number, StreamError(str(error)))
            return
        if answer:
            self._answers.append((number, answer))
        if negotiating and stream.inbound and stream.protocol is not None:
            self._owner.serve(stream)

    # -----------------------------------------------------------------------------------------------------

    def _add(self, number: int, stream: Stream) -> Stream:
        self._streams[number] = stream
        self.idle_since = None
        if stream.inbound:
            self.holds(STREAM)
        return stream

    def _remove(self, number: int) -> None:
        if self._streams.pop(number).inbound:
            self.holds(-STREAM)
        if not self._streams:
            self.idle_since = self._loop.time()

    def _break(self, number: int, error: StreamError | RemoteProtocolError) -> None:
        stream = self._streams[number]
        self.reset(number)
        stream.fail(error)

    def _hold_unsent(self) -> None:
        """Count what waits for the socket, before that grows by answers to what comes in."""
        unsent = self._wire.buffered
        grown, self._unsent_held = unsent - self._unsent_held, unsent
        self.holds(grown)

    def _flush_soon(self) -> None:
        """Send what gathers until the end of this turn of the event loop in one go."""
        if self._flushing is None and self.open and self._session.has_output:
            self._flushing = self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self.open and (pieces := self._session.take_output()):
            self._unsent = 0
            try:
                self._wire.write(self._transport.encrypt(b"".join(pieces)))
            except NonceExhaustedError as error:
                self.abort(str(error))

    def _wake_writers(self) -> None:
        waiters, self._drained = self._drained, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _leave(self, code: yamux.GoAway, reason: str) -> None:
        if self.open:
            self._session.leave(code)
            self._flush()
            self._wire.close()
            self._end(reason)

    def _end(self, reason: str) -> None:
        if not self.open:
            return
        self.open = False
        self.retired = True
        held, self.held = self.held, 0
        self._owner.holds(-held)
        self._input.clear()
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.fail(StreamError(f"the connection was lost: {reason}"))
        self._wake_writers()
        self._owner.ended(self, reason)
