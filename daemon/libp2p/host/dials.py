"""Dials to peers: one at a time to each, shared by all who wait, and not soon again after a failure.

There is a limit to how many are under way. Peers that others name may be at addresses where nothing answers,
not even that there is nobody; such a dial lasts until it is given up, while one that leads somewhere is soon
over. So of too many the oldest is given up.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress

from daemon.libp2p.host.connection import Connection
from daemon.libp2p.host.errors import DialError
from daemon.libp2p.identity import PeerId
from daemon.libp2p.peer_info import PeerInfo

Dial = Callable[[PeerInfo], Awaitable[Connection]]
"""Connects to a peer, or raises DialError."""
Spawn = Callable[[Coroutine[None, None, None]], asyncio.Task[None] | None]
"""Runs something in the background; None when nothing is run any more."""


class Dials:
    """One host's dials that are under way."""

    def __init__(self, dial: Dial, limit: int, spawn: Spawn) -> None:
        """Allow so many dials at once."""
        self._loop = asyncio.get_running_loop()
        self._dial = dial
        self._limit = limit
        self._spawn = spawn
        self._results: dict[PeerId, asyncio.Future[Connection]] = {}
        self._tasks: dict[asyncio.Future[Connection], tuple[PeerId, asyncio.Task[None]]] = {}  # oldest first
        self._backoff = Backoff()

    def __len__(self) -> int:
        return len(self._tasks)

    async def share(self, peer: PeerInfo) -> Connection:
        """Return what the dial that is under way leads to, or a new one.

        Raises:
            DialError: the peer is not to be reached, was not a moment ago, or others had to be dialled.
        """
        result = self._results.get(peer.id)
        if result is None:
            if self._backoff.left(peer.id, self._loop.time()):
                raise DialError("not dialled again so soon, since that failed")
            result = self._begin(peer)
        return await asyncio.shield(result)

    def met(self, connection: Connection) -> None:
        """Take note that a peer is connected, whoever dialled whom.

        Nobody waits for the dial any more. It goes on all the same: the peer may hold what it leads to for
        the connection of the two.
        """
        self._backoff.forget(connection.peer_id)
        result = self._results.pop(connection.peer_id, None)
        if result is not None and not result.done():
            result.set_result(connection)

    def _begin(self, peer: PeerInfo) -> asyncio.Future[Connection]:
        while len(self._tasks) >= self._limit:
            self._give_up(next(iter(self._tasks)))
        result: asyncio.Future[Connection] = self._loop.create_future()
        task = self._spawn(self._run(peer, result))
        if task is None:
            raise DialError("the host is closed")
        self._results[peer.id] = result
        self._tasks[result] = peer.id, task
        return result

    async def _run(self, peer: PeerInfo, result: asyncio.Future[Connection]) -> None:
        failure = DialError("the host is closed")
        try:
            connection = await self._dial(peer)
            if not result.done():
                result.set_result(connection)
        except DialError as error:
            failure = error
            if self._results.get(peer.id) is result:
                self._backoff.failed(peer.id, self._loop.time())
        finally:
            self._forget(peer.id, result)
            _fail(result, failure)

    def _give_up(self, result: asyncio.Future[Connection]) -> None:
        peer, task = self._tasks[result]
        self._forget(peer, result)
        _fail(result, DialError("given up, since too many others are to be dialled"))
        task.cancel()

    def _forget(self, peer: PeerId, result: asyncio.Future[Connection]) -> None:
        self._tasks.pop(result, None)
        if self._results.get(peer) is result:
            del self._results[peer]


def _fail(result: asyncio.Future[Connection], failure: DialError) -> None:
    if not result.done():
        result.set_exception(failure)
        result.exception()  # whoever waited may have gone


class Backoff:
    """Whom not to dial for a while, since it failed: for a second, then twice as long each time."""

    _FIRST, _LONGEST = 1.0, 30.0
    _MAX_PEERS = 1024

    def __init__(self) -> None:
        self._peers: OrderedDict[PeerId, tuple[float, float]] = OrderedDict()  # until when, and for how long

    def failed(self, peer: PeerId, now: float) -> None:
        """Take note that a dial failed."""
        _, last = self._peers.pop(peer, (0.0, 0.0))
        pause = min(self._LONGEST, 2 * last) or self._FIRST
        self._peers[peer] = (now + pause, pause)
        while len(self._peers) > self._MAX_PEERS:
            self._peers.popitem(last=False)

    def forget(self, peer: PeerId) -> None:
        """Dial at once again: the peer was there."""
        with suppress(KeyError):
            del self._peers[peer]

    def left(self, peer: PeerId, now: float) -> float:
        """Return for how many seconds not to dial."""
        until, _ = self._peers.get(peer, (now, 0.0))
        return max(0.0, until - now)
