"""When to provide which keys, as a machine without clock or network.

Keys are provided at once when they are new, and again once in every interval. The key space is cut into
slices, each with its turn within the interval, so that sending never comes as a storm; the node's own
position says in which order the slices come, so that not all nodes turn to the same one. Of what is due, keys
whose nearest peers are the same ones travel together: whoever sends takes one key, finds out which part of
the key space its nearest peers cover, and claims the rest of what is due there.

    key = schedule.take(now)                  # None: nothing is due before schedule.wake_at()
    keys = [key, *schedule.claim(prefix, length)]
    schedule.failed(keys, now)                # those that reached too few peers
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator
from itertools import chain

from daemon.kademlia.key import BITS, position
from daemon.kademlia.parameters import PROVIDE_INTERVAL

RETRY_DELAY = 30.0
"""Seconds after which a key that reached too few peers is sent again."""
RENEWAL = 60.0
"""Seconds over which all keys are sent again when the network has changed."""

SLICE_BITS = 4
"""Bits that the keys share which have their turn together."""

_SLICES = 1 << SLICE_BITS


class Schedule:
    """The keys that a node provides, and what is due of them."""

    def __init__(self, local: int, now: float) -> None:
        self._start = now
        self._first = local >> BITS - SLICE_BITS
        self._slices: list[dict[bytes, int]] = [{} for _ in range(_SLICES)]  # in the order of their turns
        self._turns = [(self._next_turn(turn, now), turn) for turn in range(_SLICES)]
        heapq.heapify(self._turns)
        self._retries: list[tuple[float, tuple[bytes, ...]]] = []  # a heap, too
        self._new: dict[bytes, int] = {}
        self._due: dict[bytes, int] = {}

    def __len__(self) -> int:
        return sum(map(len, self._slices))

    def __iter__(self) -> Iterator[bytes]:
        return chain.from_iterable(self._slices)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, bytes) and key in self._slice(key)

    def add(self, keys: Iterable[bytes]) -> None:
        """Provide keys from now on. Those that are provided already are left alone."""
        for key in keys:
            keys_of_slice = self._slice(key)
            if key not in keys_of_slice:
                keys_of_slice[key] = self._new[key] = position(key)

    def remove(self, keys: Iterable[bytes]) -> None:
        """Provide keys no longer. What others have been told of them expires."""
        for key in keys:
            for held in (self._slice(key), self._new, self._due):
                held.pop(key, None)

    def take(self, now: float) -> bytes | None:
        """Return one key that is due, new ones first; it is not due any more."""
        self._advance(now)
        for due in (self._new, self._due):
            if due:
                return due.popitem()[0]
        return None

    def claim(self, prefix: int, length: int) -> list[bytes]:
        """Return all keys that are due and begin with a prefix; they are not due any more."""
        claimed = []
        for due in (self._new, self._due):
            found = [key for key, where in due.items() if where >> BITS - length == prefix]
            for key in found:
                del due[key]
            claimed += found
        return claimed

    def failed(self, keys: Iterable[bytes], now: float) -> None:
        """Note that keys reached too few peers: they are due again soon."""
        heapq.heappush(self._retries, (now + RETRY_DELAY, tuple(keys)))

    def renew(self, now: float) -> None:
        """Provide everything again soon, since the network is not what it was."""
        self._turns = [(min(at, now + turn * RENEWAL / _SLICES), turn) for at, turn in self._turns]
        heapq.heapify(self._turns)

    def wake_at(self) -> float:
        """Return when something may be due, minus infinity when something is."""
        if self._new or self._due:
            return -math.inf
        return min(self._turns[0][0], self._retries[0][0] if self._retries else math.inf)

    def _advance(self, now: float) -> None:
        while self._turns[0][0] <= now:
            _, turn = self._turns[0]
            self._due.update(self._slices[turn])
            # After a renewal a turn may be near. Left out, the next one is late by less than is allowed.
            heapq.heapreplace(self._turns, (self._next_turn(turn, now + RENEWAL), turn))
        while self._retries and self._retries[0][0] <= now:
            for key in heapq.heappop(self._retries)[1]:
                if key in self:
                    self._due[key] = position(key)

    def _next_turn(self, turn: int, after: float) -> float:
        first = self._start + turn * PROVIDE_INTERVAL / _SLICES
        return first + max(0, math.floor((after - first) / PROVIDE_INTERVAL) + 1) * PROVIDE_INTERVAL

    def _slice(self, key: bytes) -> dict[bytes, int]:
        return self._slices[position(key) >> BITS - SLICE_BITS ^ self._first]
