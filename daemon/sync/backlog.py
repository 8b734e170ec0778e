"""What is still to be looked at in the store. Pure: the time, in seconds on any clock, is an argument.

An event only says where to look: what is true is read from the store. So the order of events does not
matter, and any number of events about one thing are one thing to do. When there is too much to do, one
complete reading takes its place.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field, replace
from itertools import chain, islice

from daemon.store.base import Event, EventKind

MAX_PENDING = 4096
MAX_IMAGES = 64
"""More images than these are read faster all together."""
MAX_CONTENTS = 256
"""Of one batch; the others are the next."""

GATHER = 0.1
"""Events come in bursts; what comes within this time, in seconds, is one batch."""
AFTER_DELETION, LONG_AFTER_DELETION = 2.0, 30.0
"""Garbage collection runs some time after images were deleted, and says nothing of it."""
RETRY_DELAYS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
READING_RETRY_DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)


class Kind(enum.Enum):
    """What a look is at."""

    IMAGE = enum.auto()
    CONTENT = enum.auto()


@dataclass(frozen=True, slots=True)
class Look:
    """One thing to look at."""

    kind: Kind
    what: str
    """An image's name or a digest."""
    since: float
    """When the first event about it came."""
    due: float
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """What is to be done now: read everything or look at some images, and in both cases look at content."""

    everything: bool
    images: tuple[Look, ...]
    contents: tuple[Look, ...]
    since: float | None
    """When the first event behind it came; None when there was none."""


@dataclass(slots=True)
class Backlog:
    """Collects events and gives out batches."""

    interval: float
    """Time between two complete readings, in seconds."""
    due: float = math.inf
    """When there is something to do."""
    _looks: dict[tuple[Kind, str], Look] = field(default_factory=dict)
    _readings: dict[str, float] = field(default_factory=dict)
    """When complete readings are due, by the reason for them."""
    _reading_since: float | None = None
    """When the first event came that waits for a complete reading."""
    _failures: int = 0

    def add(self, event: Event, now: float) -> None:
        """Note an event."""
        match event.kind:
            case EventKind.RESYNC:
                self._read_everything(now, now)
            case EventKind.IMAGE_CHANGED:
                self._look(Look(Kind.IMAGE, event.name, now, now + GATHER))
            case EventKind.IMAGE_DELETED:
                self._look(Look(Kind.IMAGE, event.name, now, now + GATHER))
                self._schedule("deletion", self._readings.get("deletion", now + AFTER_DELETION))
                self._schedule("last deletion", now + LONG_AFTER_DELETION)
            case EventKind.CONTENT_CREATED | EventKind.CONTENT_DELETED if event.digest:
                self._look(Look(Kind.CONTENT, event.digest, now, now + GATHER))
        if len(self._looks) > MAX_PENDING:
            self._looks.clear()
            self._read_everything(now, now)

    def retry(self, look: Look, now: float) -> bool:
        """Look again a little later; False when that was done often enough."""
        if look.attempt >= len(RETRY_DELAYS):
            return False
        self._look(replace(look, due=now + RETRY_DELAYS[look.attempt], attempt=look.attempt + 1))
        return True

    def read_everything(self, now: float, since: float | None) -> None:
        """Ask for a complete reading, later after each one in a row that was asked for so."""
        delay = READING_RETRY_DELAYS[min(self._failures, len(READING_RETRY_DELAYS) - 1)]
        self._failures += 1
        self._read_everything(now + delay, since)

    def succeeded(self) -> None:
        """Note that a complete reading was made."""
        self._failures = 0

    def take(self, now: float) -> Batch:
        """Return what is due, and with it what is due in a moment; it is no longer in the backlog."""
        ready = [look for look in self._looks.values() if look.due <= now + GATHER]
        images = [look for look in ready if look.kind is Kind.IMAGE]
        everything = len(images) > MAX_IMAGES or any(due <= now for due in self._readings.values())
        contents = list(islice((look for look in ready if look.kind is Kind.CONTENT), MAX_CONTENTS))
        if everything:
            images = [look for look in self._looks.values() if look.kind is Kind.IMAGE]
        for look in chain(images, contents):
            del self._looks[look.kind, look.what]
        since = [look.since for look in chain(images, contents)]
        if everything:
            if self._reading_since is not None:
                since.append(self._reading_since)
            self._reading_since = None
            self._readings = {reason: due for reason, due in self._readings.items() if due > now}
            self._readings["interval"] = now + self.interval
            images = []
        looks_due = (look.due for look in self._looks.values())
        self.due = min(chain(self._readings.values(), looks_due), default=math.inf)
        return Batch(everything, tuple(images), tuple(contents), min(since, default=None))

    def _look(self, look: Look) -> None:
        """Add a look; of two at one thing, one is enough, and the earlier time counts."""
        key = look.kind, look.what
        known = self._looks.get(key)
        if known:
            look = replace(known, due=min(known.due, look.due))
        self._looks[key] = look
        self.due = min(self.due, look.due)

    def _read_everything(self, due: float, since: float | None) -> None:
        self._schedule("event", min(due, self._readings.get("event", due)))
        if since is not None:
            self._reading_since = since if self._reading_since is None else min(since, self._reading_since)

    def _schedule(self, reason: str, due: float) -> None:
        self._readings[reason] = due
        self.due = min(self.due, due)
