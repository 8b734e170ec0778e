"""The last requests that were answered from other nodes, for the debug page."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

_KEPT = 100


class Outcome(enum.StrEnum):
    """How a mirrored request ended."""

    HIT = "hit"
    """Answered in full."""
    MISS = "miss"
    """No peer had it; the client went on to the next host."""
    CUT = "cut"
    """No peer was left in the middle of it; the client's connection was cut."""
    LEFT = "left"
    """The client went away in the middle of it."""


@dataclass(frozen=True, slots=True)
class Record:
    """One mirrored request."""

    time: float
    """When it came, in seconds since 1970."""
    method: str
    kind: str
    """``manifest`` or ``blob``."""
    registry: str
    name: str
    reference: str
    outcome: Outcome
    peers: tuple[str, ...]
    """The IDs of the peers whose bytes were used, in order."""
    tried: int
    """How many peers were asked for the first answer."""
    bytes: int
    """Of the body, sent to the client."""
    seconds: float


class History:
    """A bounded record of requests."""

    def __init__(self) -> None:
        self._records: deque[Record] = deque(maxlen=_KEPT)

    def add(self, record: Record) -> None:
        """Keep a request; the oldest one gives way."""
        self._records.appendleft(record)

    def __iter__(self) -> Iterator[Record]:
        """Return the requests, the latest first."""
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)
