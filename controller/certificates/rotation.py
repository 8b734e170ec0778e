"""When certificate authorities and certificates are replaced: a state machine without clock and keys.

There are one or two authorities, the current one and, while a rotation is under way, its predecessor:

    FIRST   there is nothing usable: a first authority is made
    BEGIN   the Shoot initiated a rotation, or the current one has aged: a new one follows it
    END     the rotation is completing, and BEGIN was an earlier step: the predecessor is forgotten
    KEEP    none of these

Each step happens at a reconciliation of the Extension, after which the nodes get what it made. So between
BEGIN and END every node has been given the new authority, however many phases of the Shoot were missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

RENEW_AFTER = 0.8
"""Part of its life after which a certificate or an authority is replaced."""

OVERLAP = timedelta(days=30)
"""How long both authorities are trusted when age began the rotation, and so no phase will end it."""

_ENDING = frozenset({"Completing", "Completed"})


class Step(Enum):
    """What is to be done about the authorities."""

    KEEP = auto()
    FIRST = auto()
    BEGIN = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Rotation:
    """``status.credentials.rotation.certificateAuthorities`` of the Shoot."""

    phase: str | None = None
    initiated: str | None = None
    """lastInitiationTime, as the Shoot has it; None when there was no rotation yet."""


@dataclass(frozen=True, slots=True)
class Life:
    """From when to when a certificate is valid."""

    start: datetime
    end: datetime

    def is_over(self, now: datetime) -> bool:
        """Tell whether it is valid no more."""
        return now >= self.end

    def is_due(self, now: datetime) -> bool:
        """Tell whether it is time for a replacement."""
        return now >= self.start + (self.end - self.start) * RENEW_AFTER


@dataclass(frozen=True, slots=True)
class Term:
    """An authority as far as its rotation goes."""

    life: Life
    initiated: str | None
    """The latest initiation that the Shoot had seen when the authority was made."""


def next_step(current: Term | None, former: Term | None, rotation: Rotation, now: datetime) -> Step:
    """Decide what is to be done; ``former`` is the predecessor of ``current`` during a rotation."""
    if current is None or current.life.is_over(now):
        return Step.FIRST
    if rotation.initiated not in (None, current.initiated) or current.life.is_due(now):
        return Step.BEGIN
    if former is None:
        return Step.KEEP
    if former.initiated == current.initiated:
        ended = now >= current.life.start + OVERLAP
    else:
        ended = rotation.phase in _ENDING
    return Step.END if ended or former.life.is_over(now) else Step.KEEP
