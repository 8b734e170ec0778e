"""Which operation an Extension asks for, and whether it asks for one now.

gardenlet decides when a shoot is touched, because of its maintenance window: a changed spec alone starts
nothing. What starts something is the operation annotation, a deletion, and work that was left undone.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from controller.lifecycle.extension import (
    FORCE_DELETION,
    OPERATION,
    TIMESTAMP,
    Object,
    annotation,
    asked_at,
    has_finalizer,
    is_deleting,
    last_operation,
    parse_time,
)

RECONCILE = "reconcile"
MIGRATE = "migrate"
RESTORE = "restore"
WAIT_FOR_STATE = "wait-for-state"
_STARTING = {RECONCILE, MIGRATE, RESTORE}

Trigger = tuple[str | None, str | None, str | None]


class Operation(StrEnum):
    """Values of ``status.lastOperation.type``."""

    CREATE = "Create"
    RECONCILE = "Reconcile"
    DELETE = "Delete"
    MIGRATE = "Migrate"
    RESTORE = "Restore"


def trigger(extension: Object) -> Trigger:
    """Return what has to change for an object that is being worked on to be started anew."""
    metadata = extension.get("metadata") or {}
    return (
        annotation(extension, OPERATION),
        annotation(extension, TIMESTAMP),
        metadata.get("deletionTimestamp"),
    )


def is_due(extension: Object, *, first: bool) -> bool:
    """Tell whether there is something to do.

    Args:
        extension: as it is now.
        first: whether it is seen for the first time since this process began to lead. Then also what a
            predecessor began and did not end is due.
    """
    asked = annotation(extension, OPERATION)
    if asked == WAIT_FOR_STATE:
        return False
    if asked in _STARTING:
        return True
    if is_deleting(extension):
        return has_finalizer(extension)
    return first and _is_unfinished(extension)


def operation_of(extension: Object) -> Operation:
    """Return the operation that an Extension asks for, or was in the middle of."""
    asked = annotation(extension, OPERATION)
    if asked == MIGRATE:
        return Operation.MIGRATE
    if is_deleting(extension):
        return Operation.DELETE
    if asked == RESTORE:
        return Operation.RESTORE
    last = last_operation(extension)
    if last is None:
        return Operation.CREATE
    if last.get("state") != "Succeeded":
        for unfinished in (Operation.CREATE, Operation.MIGRATE, Operation.RESTORE):
            if last.get("type") == unfinished:
                return unfinished
    return Operation.RECONCILE


def is_migrated(extension: Object, operation: Operation) -> bool:
    """Tell whether the control plane has left this seed, so that nothing may be built here again."""
    last = last_operation(extension)
    return (
        last is not None
        and (last.get("type"), last.get("state")) == (Operation.MIGRATE, "Succeeded")
        and operation not in {Operation.MIGRATE, Operation.RESTORE}
    )


def has_failed(shoot: Object) -> bool:
    """Tell whether gardenlet has given up on a Shoot until somebody changes it or says "retry"."""
    metadata: Mapping[str, Any] = shoot.get("metadata") or {}
    status: Mapping[str, Any] = shoot.get("status") or {}
    return (status.get("lastOperation") or {}).get("state") == "Failed" and metadata.get(
        "generation"
    ) == status.get("observedGeneration")


def is_force_deleted(shoot: Object) -> bool:
    """Tell whether a Shoot is to be deleted without waiting for what is in it."""
    return annotation(shoot, FORCE_DELETION) in {"true", "True", "TRUE", "t", "T", "1"}


def _is_unfinished(extension: Object) -> bool:
    last = last_operation(extension)
    if last is None or last.get("state") != "Succeeded":
        return True
    # Another controller may have taken the annotation away and ended, before it said that it was at work.
    asked, done = asked_at(extension), parse_time(last.get("lastUpdateTime"))
    return asked is not None and (done is None or asked > done)
