"""Which peers are tried last for a while."""

from __future__ import annotations

from collections import OrderedDict

from daemon.mirror.fault import Fault

_HALF_LIFE = 30.0
"""Seconds in which half of a peer's points lapse."""
_POINTS = {Fault.MISSING: 1.0, Fault.UNREACHABLE: 1.0, Fault.REFUSED: 1.0, Fault.LIED: 16.0}
"""What is not here is not the peer's fault."""
_MOST = 32.0
"""So that nobody is tried last for longer than about three minutes."""
_SUSPECT = 0.5
"""Below these points all is forgotten: 30 s after one failure, 2.5 min after one lie."""
_ENTRIES = 1024


class Reputation:
    """Points against peers, which lapse with time; a bounded number of them.

    Content that is missing speaks against the peer for that content only: requests for content that a
    peer cannot have must not be a way to spoil its name.
    """

    def __init__(self) -> None:
        self._points: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()
        """By peer and key (empty: any), the points and when they were counted."""

    def blame(self, peer: str, key: str, fault: Fault, now: float) -> None:
        """Count a fault of a peer that was asked for a key."""
        if fault in _POINTS:
            entry = (peer, key if fault is Fault.MISSING else "")
            self._set(entry, self._current(entry, now) + _POINTS[fault], now)

    def praise(self, peer: str, key: str, now: float) -> None:
        """Take a fault back: it served the key well."""
        self._points.pop((peer, key), None)
        entry = (peer, "")
        self._set(entry, self._current(entry, now) - 1, now)

    def points(self, peer: str, key: str, now: float) -> float:
        """Return what speaks against a peer for a key; 0 for one that is as good as any."""
        points = self._current((peer, ""), now) + self._current((peer, key), now)
        return points if points > _SUSPECT else 0.0

    def _current(self, entry: tuple[str, str], now: float) -> float:
        points, counted = self._points.get(entry, (0.0, now))
        return float(points * 0.5 ** ((now - counted) / _HALF_LIFE))

    def _set(self, entry: tuple[str, str], points: float, now: float) -> None:
        self._points.pop(entry, None)
        if points > 0:
            self._points[entry] = (min(points, _MOST), now)
            if len(self._points) > _ENTRIES:
                self._points.popitem(last=False)
