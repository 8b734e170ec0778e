"""Runs a race: looks peers up, asks them as the race decides, returns the first answer, learns from all."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from daemon.mirror.fault import Fault, PeerError
from daemon.mirror.latency import Latency
from daemon.mirror.race import Race, Start, Terms, Verdict
from daemon.mirror.reputation import Reputation

if TYPE_CHECKING:
    from collections.abc import Collection

    from daemon.routing.base import Peer, Router

_LOG = logging.getLogger(__name__)

_LIMIT = 2.0
"""Seconds for a whole race, for a manifest or for the head of a blob's answer: registries are quicker."""
_SHORT_PATIENCE = 0.1
"""Seconds for a peer that failed lately. Running out of them is not counted against it: otherwise a peer that
always needs a little longer would never come back."""


class Closable(Protocol):
    """What a contest is about; answers that came too late are closed."""

    def close(self) -> None:
        """Release it."""


T = TypeVar("T", bound=Closable)


@dataclass(frozen=True, slots=True)
class Won(Generic[T]):
    """The end of a contest that somebody won."""

    answer: T
    tried: int
    """How many peers were asked."""


class NoAnswerError(Exception):
    """No peer gave a usable answer in time."""

    def __init__(self, tried: int, last: PeerError | None = None) -> None:
        """Say how many peers were asked, and how the last of them failed."""
        super().__init__(f"none of {tried} peers answered" if tried else "no peer was found")
        self.tried = tried
        self.last = last


class Arena:
    """Where contests take place, with what is known of peers from those before."""

    def __init__(self, router: Router, resolve_timeout: float, tries: int) -> None:
        """Take the router, the seconds to wait for it, and how many peers one contest may ask."""
        self.latency = Latency()
        self.reputation = Reputation()
        self._router = router
        self._resolve_timeout = resolve_timeout
        self._tries = tries

    def lookup(self, key: str, more: int) -> AsyncGenerator[Peer, None]:
        """Look up twice as many peers as may be asked, so that there is a choice, and so many ``more``."""
        return self._router.lookup(key, 2 * self._tries + more)

    async def contest(
        self, key: str, ask: Callable[[Peer], Awaitable[T]], without: Collection[str] = ()
    ) -> Won[T]:
        """Find peers that have a key, ask them, and return the first usable answer.

        Args:
            key: what to look up.
            ask: asks one peer; raises PeerError when its answer is of no use.
            without: IDs of peers that are not to be asked.

        Raises:
            NoAnswerError: nobody has it, or nobody answers in time.
        """
        terms = Terms(
            self._tries,
            self._resolve_timeout,
            self.latency.hedges(),
            self.latency.patience(),
            _SHORT_PATIENCE,
            _LIMIT,
        )
        race = Race(terms, asyncio.get_running_loop().time())
        contest = _Contest(self, key, ask, race, terms.hedges[0])
        answer = await contest.run(without)
        if answer is None:
            raise NoAnswerError(race.tried, contest.failure)
        return Won(answer, race.tried)

    def blame(self, peer: str, key: str, fault: Fault) -> None:
        """Count a fault against a peer that was asked for a key."""
        self.reputation.blame(peer, key, fault, asyncio.get_running_loop().time())

    def praise(self, peer: str, key: str) -> None:
        """Take a fault back: the peer served the key well."""
        self.reputation.praise(peer, key, asyncio.get_running_loop().time())


class _Contest(Generic[T]):
    """Takes each step of the race in the turn of the event loop in which something happens."""

    def __init__(
        self, arena: Arena, key: str, ask: Callable[[Peer], Awaitable[T]], race: Race, head_start: float
    ) -> None:
        """Give the first peer so many seconds to answer before more are looked for.

        No other is asked sooner. Most answer in time, also where all answer late, and all whom the router
        would have asked for more are left in peace.
        """
        self._arena = arena
        self._key = key
        self._ask = ask
        self._race = race
        self._head_start = head_start
        self._loop = asyncio.get_running_loop()
        self._peers: dict[str, Peer] = {}
        self._attempts: dict[str, asyncio.Task[None]] = {}
        self._search_on = asyncio.Event()
        """Set when the first peer has failed, or has had its head start."""
        self._searching: asyncio.Timeout | None = None
        """What the search runs in, so that it can be cut off without a task of its own."""
        self._timer: asyncio.TimerHandle | None = None
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._answer: T | None = None
        self.failure: PeerError | None = None
        """The last one."""

    async def run(self, without: Collection[str]) -> T | None:
        """Search, and then wait until the race is over; once it is over, the search ends too."""
        try:
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(None) as scope:
                        self._searching = scope
                        try:
                            self._step()
                            await self._search(without)
                        finally:
                            self._searching = None
                self._race.searched()
                self._step()
                await self._over
            finally:
                if self._timer is not None:
                    self._timer.cancel()
                await _end(self._attempts.values())
        except BaseException:
            if self._answer is not None:
                self._answer.close()
            raise
        return self._answer

    def _check(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) and not self._over.done():
            self._over.set_exception(error)
            self._end_search()

    def _step(self) -> None:
        if self._over.done():
            return
        for action in self._race.step(self._loop.time()):
            if isinstance(action, Start):
                attempt = self._loop.create_task(self._attempt(self._peers[action.peer]))
                attempt.add_done_callback(self._check)
                self._attempts[action.peer] = attempt
            else:
                self._attempts[action.peer].cancel()
                if not action.suspect:
                    self._arena.blame(action.peer, self._key, Fault.UNREACHABLE)
        if self._race.verdict is not Verdict.OPEN:
            self._over.set_result(None)
            self._end_search()
            return
        wake = self._race.wake()
        if self._timer is None or self._timer.when() != wake:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(wake, self._step)

    def _end_search(self) -> None:
        if self._searching is not None:
            self._searching.reschedule(0)

    async def _search(self, without: Collection[str]) -> None:
        try:
            async with contextlib.aclosing(self._arena.lookup(self._key, len(without))) as peers:
                async for peer in peers:
                    if peer.id not in without:
                        await self._found(peer)
        except Exception:  # noqa: BLE001  # whatever breaks a router, the client must get to the next host
            _LOG.exception("looking up %s failed", self._key)

    async def _found(self, peer: Peer) -> None:
        """Take a peer into the race; return when it makes sense to look for the next."""
        self._peers.setdefault(peer.id, peer)
        points = self._arena.reputation.points(peer.id, self._key, self._loop.time())
        self._race.found(peer.id, points)
        self._step()
        if points:
            return
        timer = self._loop.call_later(self._head_start, self._search_on.set)
        try:
            await self._search_on.wait()
        finally:
            timer.cancel()

    async def _attempt(self, peer: Peer) -> None:
        now = self._loop.time
        started = now()
        try:
            answer = await self._ask(peer)
        except PeerError as error:
            _LOG.debug("peer %s failed for %s: %s", peer.id, self._key, error)
            self._arena.latency.cut_short(now() - started)
            self._arena.blame(peer.id, self._key, error.fault)
            self._race.failed(peer.id, now())
            self._search_on.set()
            self.failure = error
        except asyncio.CancelledError:
            self._arena.latency.cut_short(now() - started)
            raise
        else:
            self._arena.latency.answered(now() - started)
            if self._race.answered(peer.id):
                self._answer = answer
            else:
                answer.close()
        self._step()


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running)
