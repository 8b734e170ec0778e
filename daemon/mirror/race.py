"""When to ask which peer, when to stop asking: decisions only, without I/O and without a clock.

One peer is asked at first. The next is asked when the first takes longer than most answers do (hedging), and
at once when one fails or runs out of time; never more than ``tries`` in all, and no peer twice. The first
answer wins. While nobody is being asked, the wait for somebody to ask is short, because then the
client gains nothing by waiting.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Terms:
    """The limits of one race, in seconds where nothing else is said."""

    tries: int
    """How many peers may be asked."""
    resolve: float
    """How long to wait for a peer while nobody is being asked."""
    hedges: tuple[float, ...]
    """When to ask one more peer, counted from asking the first; ascending."""
    patience: float
    """How long one peer may take."""
    short_patience: float
    """The same for peers that failed lately."""
    limit: float
    """How long the race may take."""


class Verdict(enum.Enum):
    """Where a race stands."""

    OPEN = enum.auto()
    WON = enum.auto()
    LOST = enum.auto()


@dataclass(frozen=True, slots=True)
class Start:
    """Ask this peer."""

    peer: str


@dataclass(frozen=True, slots=True)
class Abandon:
    """Stop waiting for this peer: it has had its time."""

    peer: str
    suspect: bool
    """Whether it only had the short time of those that failed lately."""


@dataclass(slots=True)
class _Runner:
    until: float
    suspect: bool


class Race:
    """One race. Tell it what happened, then ask it what to do with `step`."""

    def __init__(self, terms: Terms, now: float) -> None:
        """Open the race; times are the caller's clock."""
        self.verdict = Verdict.OPEN
        self.tried = 0
        """How many peers have been asked."""
        self._terms = terms
        self._end = now + terms.limit
        self._idle_since = now
        self._first_start = math.inf
        self._failures = 0
        self._searching = True
        self._known: set[str] = set()
        self._waiting: list[tuple[float, str]] = []
        self._running: dict[str, _Runner] = {}

    def found(self, peer: str, points: float = 0.0) -> None:
        """Add a peer that may be asked; ``points`` speak against it, those with fewest go first."""
        if peer not in self._known:
            self._known.add(peer)
            self._waiting.append((points, peer))
            self._waiting.sort(key=lambda entry: entry[0])

    def searched(self) -> None:
        """Note that no more peers will be found."""
        self._searching = False

    def failed(self, peer: str, now: float) -> None:
        """Note that a peer gave no usable answer."""
        if self._running.pop(peer, None) is not None:
            self._failures += 1
            if not self._running:
                self._idle_since = now

    def answered(self, peer: str) -> bool:
        """Note a usable answer; return whether it is the one that wins the race."""
        if peer not in self._running or self.verdict is not Verdict.OPEN:
            return False
        self.verdict = Verdict.WON
        return True

    def step(self, now: float) -> list[Start | Abandon]:
        """Return what to do now; afterwards `verdict` and `wake` are up to date."""
        actions: list[Start | Abandon] = []
        if self.verdict is not Verdict.OPEN:
            return actions
        if now >= self._end:
            self.verdict = Verdict.LOST
            return actions
        for peer, runner in list(self._running.items()):
            if now >= runner.until:
                self.failed(peer, now)
                actions.append(Abandon(peer, runner.suspect))
        while self._may_start(now):
            points, peer = self._waiting.pop(0)
            patience = self._terms.short_patience if points else self._terms.patience
            self._running[peer] = _Runner(now + patience, bool(points))
            self._first_start = min(self._first_start, now)
            self.tried += 1
            actions.append(Start(peer))
        if not self._running and self._hopeless(now):
            self.verdict = Verdict.LOST
        return actions

    def wake(self) -> float:
        """Return when `step` has to be called again if nothing happens before."""
        times = [self._end]
        if not self._running:
            times += [self._idle_since + self._terms.resolve, self._suspects_from()]
        else:
            times += [runner.until for runner in self._running.values()]
            if self._waiting and self.tried < self._terms.tries:
                times.append(self._next_hedge())
        return min(times)

    def _may_start(self, now: float) -> bool:
        if not self._waiting or self.tried >= self._terms.tries:
            return False
        if not self._running:
            suspects_only = bool(self._waiting[0][0])
            return not (suspects_only and self._searching and now < self._suspects_from())
        return now >= self._next_hedge()

    def _suspects_from(self) -> float:
        """Return when peers that failed lately get their turn although better ones may yet be found."""
        return self._idle_since + self._terms.resolve / 2 if self._waiting else math.inf

    def _next_hedge(self) -> float:
        """Return when one more peer may be asked while others are; those that failed are replaced at once."""
        hedged = self.tried - 1 - self._failures
        if hedged >= len(self._terms.hedges):
            return math.inf
        return self._first_start + self._terms.hedges[hedged]

    def _hopeless(self, now: float) -> bool:
        nobody_left = not self._waiting and not self._searching
        return nobody_left or self.tried >= self._terms.tries or now >= self._idle_since + self._terms.resolve
