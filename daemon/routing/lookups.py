"""Lookups that share what they find.

While one caller looks for a key, others that want the same key listen in; none of them owns the query, so
nobody's leaving ends it for the others. What was found stays good for a few seconds. That nothing was found
does not: the next moment somebody may have it. Others are asked only once somebody wants more peers than are
known already.
"""

from __future__ import annotations

import asyncio
import functools
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Iterable

from daemon.routing.base import Peer

FRESH = 5.0
"""Seconds for which as many peers as are wanted are not looked for again; half of it when they are fewer."""

_MAX_KEPT = 1024
_MAX_RUNNING = 64

Known = Callable[[str, int], Iterable[Peer]]
"""Returns up to so many peers that are known to have a key, without asking anybody."""
Find = Callable[[str, int, Callable[[Peer], None]], asyncio.Future[None]]
"""Looks for up to so many peers that have a key and calls back with each; done when no more are found."""


class _Query:
    def __init__(self, count: int, now: float) -> None:
        self.count = count
        self.found: dict[str, Peer] = {}
        self.made_at = now
        self.begun = False
        """Whether others are being asked, were, or will be once it is this query's turn."""
        self.listeners = 0
        self.ended_at: float | None = None
        self.changed = asyncio.Event()
        """Set, and replaced, when there is news."""

    def tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    def serves(self, count: int, now: float) -> bool:
        """Tell whether whoever wants so many peers need not look again."""
        if self.ended_at is None:
            return self.count >= count and (self.begun or now - self.made_at < FRESH / 2)
        age = now - self.ended_at
        if len(self.found) >= count:
            return age < FRESH
        return bool(self.found) and self.count >= count and age < FRESH / 2


class Lookups:
    """Looks for peers. It has no tasks: queries are run by what finds the peers."""

    def __init__(self, known: Known, find: Find, timed: Callable[[float], None]) -> None:
        """Take what finds peers; ``timed`` is told the seconds until a query had its first."""
        self._known = known
        self._find = find
        self._timed = timed
        self._queries: OrderedDict[str, _Query] = OrderedDict()
        self._running: dict[_Query, asyncio.Future[None]] = {}
        self._waiting: OrderedDict[_Query, str] = OrderedDict()

    async def look_up(self, key: str, count: int) -> AsyncGenerator[Peer, None]:
        """Yield up to ``count`` peers that have a key, as they are found."""
        query = self._query(key, count)
        query.listeners += 1
        try:
            yielded = 0
            while yielded < count:
                found = list(query.found.values())[yielded:count]
                for peer in found:
                    yielded += 1
                    yield peer
                if found:
                    continue
                if query.ended_at is not None:
                    return
                if query.begun:
                    await query.changed.wait()
                else:
                    self._begin(key, query)  # which may find something at once
        finally:
            query.listeners -= 1
            if not query.listeners and query in self._waiting:
                del self._waiting[query]
                query.begun = False

    def _query(self, key: str, count: int) -> _Query:
        now = asyncio.get_running_loop().time()
        query = self._queries.get(key)
        if query is not None and query.serves(count, now):
            return query
        query = self._queries[key] = _Query(count, now)
        self._queries.move_to_end(key)
        while len(self._queries) > _MAX_KEPT:
            self._queries.popitem(last=False)
        for peer in self._known(key, count):
            self._add(query, peer)
        return query

    def _begin(self, key: str, query: _Query) -> None:
        query.begun = True
        self._waiting[query] = key
        self._proceed()

    def _proceed(self) -> None:
        while self._waiting and len(self._running) < _MAX_RUNNING:
            query, key = self._waiting.popitem(last=False)
            asked = self._find(key, query.count, functools.partial(self._add, query))
            self._running[query] = asked
            asked.add_done_callback(functools.partial(self._ended, key, query))
        if self._waiting:
            for query, asked in self._running.items():
                if not query.listeners:
                    asked.cancel()  # and once it has ended, it is the next one's turn
                    break

    def _ended(self, key: str, query: _Query, _: asyncio.Future[None]) -> None:
        del self._running[query]
        query.ended_at = asyncio.get_running_loop().time()
        if not query.found and self._queries.get(key) is query:
            del self._queries[key]  # it serves nobody any more
        query.tell()
        self._proceed()

    def _add(self, query: _Query, peer: Peer) -> None:
        if not query.found:
            self._timed(asyncio.get_running_loop().time() - query.made_at)
        query.found[peer.id] = peer
        query.tell()
