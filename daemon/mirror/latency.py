"""How long peers take to answer, learnt from answers and from what never answered.

An answer tells a latency. A request that was given up, failed or was outrun after t seconds tells only
that the answer would have taken longer than t. An estimate from answers alone believes in ever shorter times
the more it gives up, until it gives up on everybody for good (spegel-org/spegel#1469). So both go into
the Kaplan-Meier estimator, the standard one for observations cut short: where most observations were
cut short, high percentiles become infinite, and whoever waits by them waits as long as it may.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

_WINDOW = 64
"""Observations remembered: few, so that a change shows after a handful of requests."""
_ENOUGH = 8
"""Observations below which defaults are better than estimates."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between what an estimate is used, and what stands for it until there is one; all in seconds."""

    floor: float
    default: float
    ceiling: float


HEDGE = Bounds(floor=0.01, default=0.05, ceiling=0.15)
PATIENCE = Bounds(floor=0.5, default=1.5, ceiling=1.5)
_HEDGE_PERCENTILES = (0.80, 0.85, 0.90)


class Latency:
    """The recent past of all peers together."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, bool]] = deque(maxlen=_WINDOW)
        """Seconds; False where it was an answer, True where the answer would have taken longer."""
        self._curve: list[tuple[float, float]] | None = None
        """Seconds, and which part of peers is believed to take longer; None when it has to be computed."""

    def answered(self, seconds: float) -> None:
        """Record an answer."""
        self._seen.append((seconds, False))
        self._curve = None

    def cut_short(self, seconds: float) -> None:
        """Record a wait that ended without an answer."""
        self._seen.append((seconds, True))
        self._curve = None

    def quantile(self, fraction: float) -> float | None:
        """Return the seconds within which that fraction of peers answers; None while too little is known."""
        if len(self._seen) < _ENOUGH:
            return None
        if self._curve is None:
            self._curve = list(_kaplan_meier(sorted(self._seen)))
        enough = 1 - fraction + 1e-9
        return next((seconds for seconds, longer in self._curve if longer <= enough), math.inf)

    def hedges(self) -> tuple[float, ...]:
        """Return when to ask the second, third and fourth peer, in seconds since the first was asked."""
        delays: list[float] = []
        for fraction in _HEDGE_PERCENTILES:
            delay = _within(HEDGE, self.quantile(fraction))
            delays.append(max(delay, delays[-1] + HEDGE.floor) if delays else delay)
        return tuple(delays)

    def patience(self) -> float:
        """Return how many seconds to wait for the head of one peer's answer."""
        slow = self.quantile(_HEDGE_PERCENTILES[-1])
        return _within(PATIENCE, None if slow is None else 4 * slow)


def _kaplan_meier(seen: list[tuple[float, bool]]) -> Iterator[tuple[float, float]]:
    longer = 1.0
    for position, (seconds, cut_short) in enumerate(seen):
        if not cut_short:
            longer *= 1 - 1 / (len(seen) - position)
            yield seconds, longer


def _within(bounds: Bounds, seconds: float | None) -> float:
    if seconds is None:
        return bounds.default
    return min(max(seconds, bounds.floor), bounds.ceiling)
