"""A blob on its way from a peer to the client, whatever happens to the peer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from daemon.mirror.contest import Arena, NoAnswerError
from daemon.mirror.fault import Fault, PeerError
from daemon.mirror.history import Outcome
from daemon.mirror.pace import SILENCE, Pace

if TYPE_CHECKING:
    from collections.abc import Collection

    from daemon.http.message import Sink
    from daemon.mirror.client import Answer, Client
    from daemon.mirror.movers import Mover
    from daemon.mirror.wanted import Wanted

_LOG = logging.getLogger(__name__)

_SOURCES = 16
"""Peers that one transfer may use one after another; who needs more had better start again elsewhere."""
_HOLD = 0.1
"""Seconds that a few bytes from a peer may wait for more to come before they go to the client."""


class Relay:
    """A response body; implements ``http.message.Body``.

    When its peer breaks, the rest comes from another one by a range request. When none is left, ``write_to``
    raises, and the server cuts the client's connection: the client resumes, here or at the next host.
    """

    def __init__(
        self,
        wanted: Wanted,
        answer: Answer,
        mover: Mover,
        client: Client,
        arena: Arena,
        *,
        moved: Callable[[int], None],
        resumed: Callable[[], None],
        ended: Callable[[Relay], None],
    ) -> None:
        """Take over an answer and a mover; ``aclose`` releases both.

        Args:
            wanted: what the client wants.
            answer: a peer's answer to just that.
            mover: moves the bytes.
            client: asks other peers for the rest.
            arena: finds them.
            moved: told how many bytes went to the client.
            resumed: told when another peer goes on.
            ended: told once at the end.
        """
        self.sources = [answer.peer.id]
        """The IDs of the peers that were used, in order."""
        self.outcome = Outcome.LEFT
        self.sent = 0
        """Bytes that went to the client."""
        self._wanted = wanted
        self._source = answer
        self._mover = mover
        self._client = client
        self._arena = arena
        self._moved = moved
        self._resumed = resumed
        self._ended = ended
        self._size = answer.offer.size
        self._offset = answer.offer.first
        self._end = answer.offer.first + answer.offer.length
        self._length = answer.offer.length
        self._pace = Pace()
        self._slow: set[str] = set()
        self._failed: set[str] = set()

    @property
    def length(self) -> int:
        """The number of bytes that ``write_to`` writes."""
        return self._length

    async def write_to(self, sink: Sink) -> None:
        """Relay; return when everything has gone to the client.

        Raises:
            PeerError: no peer is left.
            OSError: the client is gone.
        """
        copying = asyncio.create_task(self._copy(sink))
        leaving = asyncio.create_task(sink.closed())
        try:
            await asyncio.wait({copying, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not copying.done():
                raise ConnectionResetError("the client closed its end")
            copying.result()
        finally:
            copying.cancel()
            leaving.cancel()
            await asyncio.gather(copying, leaving, return_exceptions=True)

    async def aclose(self) -> None:
        """Release the peer at once."""
        self._source.close()
        self._mover.close()
        self._ended(self)

    async def _copy(self, sink: Sink) -> None:
        while self._offset < self._end:
            try:
                await self._step(sink)
            except PeerError as error:
                await self._replace(error)
        self.outcome = Outcome.HIT
        self._arena.praise(self._source.peer.id, self._wanted.key)

    async def _step(self, sink: Sink) -> None:
        """Move what is there, then wait for whoever is not ready."""
        if self._feed(sink):
            if self._pace.judge():
                await self._leave()
            else:
                await self._listen(sink)
        if self._mover.level:
            await sink.pump(lambda: self._drain(sink))

    def _feed(self, sink: Sink) -> bool:
        """Move what the peer has sent; return whether the next move is the peer's too."""
        try:
            self._fill()
        except BlockingIOError:
            return True
        try:
            self._drain(sink)
        except BlockingIOError:
            return False
        return not self._mover.level and not self._source.rest and self._offset < self._end

    def _fill(self) -> None:
        source, left = self._source, self._end - self._offset
        if source.rest:
            count = self._mover.put(source.rest[:left])
            source.rest = source.rest[count:]
        else:
            count = self._mover.fill(source.connection, left)
        if count == left:
            # Before the last byte goes out: without it the client knows that something is wrong.
            source.finish(surplus=bool(source.rest))
            self._mover.complete()
        self._offset += count
        self._pace.received(count)
        source.connection.expect(self._end - self._offset)

    def _drain(self, sink: Sink) -> bool:
        """Write what the client takes; return whether the next move is the client's too."""
        count = self._mover.drain(sink)
        self.sent += count
        self._moved(count)
        return self._mover.level > 0

    async def _listen(self, sink: Sink) -> None:
        """Move what the peer sends, but not for so long that a few bytes would wait for more to come."""
        now = asyncio.get_running_loop().time
        started = now()
        seconds = min(self._pace.patience(), _HOLD)
        await self._source.connection.pump(lambda: self._feed(sink), seconds)
        self._pace.waited(min(now() - started, 2 * _HOLD))  # more is this node's own standstill

    async def _leave(self) -> None:
        """Leave a peer that is too slow for a better one, when there is one; one that is dead anyhow."""
        if self._pace.silent >= SILENCE:
            raise PeerError(Fault.UNREACHABLE, f"not a byte in {self._pace.silent:.0f} s")
        peer = self._source.peer.id
        self._slow.add(peer)
        better = await self._another(self._failed | self._slow)
        if better is not None:
            self._arena.blame(peer, self._wanted.key, Fault.UNREACHABLE)
            self._use(better, "it was too slow")

    async def _replace(self, error: PeerError) -> None:
        """Go on with another peer, or raise the error when there is none."""
        if error.fault is Fault.LIED:
            self.outcome = Outcome.CUT
            for peer in self.sources:
                self._arena.blame(peer, self._wanted.key, Fault.LIED)
            raise error
        peer = self._source.peer.id
        self._arena.blame(peer, self._wanted.key, error.fault)
        self._failed.add(peer)
        another = await self._another(self._failed | self._slow)
        if another is None and self._slow - self._failed:
            another = await self._another(self._failed)
        if another is None:
            self.outcome = Outcome.CUT
            raise error
        self._use(another, str(error))

    async def _another(self, without: Collection[str]) -> Answer | None:
        """Find a peer that has the rest of exactly this content."""
        if len(self.sources) >= _SOURCES:
            return None
        rest = replace(self._wanted, range=(self._offset, self._end - 1))
        with contextlib.suppress(NoAnswerError):
            won = await self._arena.contest(
                self._wanted.key, lambda peer: self._client.ask(peer, rest, self._size), without
            )
            return won.answer
        return None

    def _use(self, answer: Answer, reason: str) -> None:
        _LOG.info(
            "%s continues from peer %s at byte %d, after peer %s: %s",
            self._wanted.reference,
            answer.peer.id,
            self._offset,
            self._source.peer.id,
            reason,
        )
        self._source.close()
        self._source = answer
        self._pace = Pace()
        self.sources.append(answer.peer.id)
        self._resumed()
