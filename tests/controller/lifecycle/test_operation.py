"""Which operation an Extension asks for, and when."""

from __future__ import annotations

from typing import Any

import pytest

from controller.lifecycle.extension import FINALIZER, is_ours, parse_time
from controller.lifecycle.operation import (
    Operation,
    has_failed,
    is_due,
    is_force_deleted,
    is_migrated,
    operation_of,
)

DELETING = {"deletionTimestamp": "2026-03-01T10:00:00Z", "finalizers": [FINALIZER]}
ASKED = "2026-03-01T10:00:00.123456789Z"


def extension(
    annotation: str | None = None,
    last: tuple[str, str] | None = None,
    *,
    asked: str | None = None,
    done: str = "2026-03-01T09:00:00Z",
    **metadata: Any,
) -> dict[str, Any]:
    annotations = {"gardener.cloud/operation": annotation, "gardener.cloud/timestamp": asked}
    metadata["annotations"] = {name: value for name, value in annotations.items() if value is not None}
    found: dict[str, Any] = {"metadata": metadata, "spec": {"type": "registry-spegel"}}
    if last:
        found["status"] = {"lastOperation": {"type": last[0], "state": last[1], "lastUpdateTime": done}}
    return found


@pytest.mark.parametrize(
    ("annotation", "metadata", "last", "operation"),
    [
        (None, {}, None, Operation.CREATE),
        ("reconcile", {}, None, Operation.CREATE),
        ("reconcile", {}, ("Create", "Error"), Operation.CREATE),
        ("reconcile", {}, ("Create", "Processing"), Operation.CREATE),
        ("reconcile", {}, ("Create", "Succeeded"), Operation.RECONCILE),
        ("reconcile", {}, ("Reconcile", "Error"), Operation.RECONCILE),
        ("reconcile", {}, ("Restore", "Succeeded"), Operation.RECONCILE),
        (None, {}, ("Restore", "Processing"), Operation.RESTORE),
        (None, {}, ("Migrate", "Error"), Operation.MIGRATE),
        ("restore", {}, ("Migrate", "Succeeded"), Operation.RESTORE),
        ("restore", {}, None, Operation.RESTORE),
        ("migrate", {}, ("Reconcile", "Succeeded"), Operation.MIGRATE),
        ("migrate", DELETING, ("Reconcile", "Succeeded"), Operation.MIGRATE),
        ("reconcile", DELETING, ("Create", "Processing"), Operation.DELETE),
        ("restore", DELETING, None, Operation.DELETE),
        (None, DELETING, ("Delete", "Error"), Operation.DELETE),
    ],
)
def test_the_operation(
    annotation: str | None, metadata: dict[str, Any], last: tuple[str, str] | None, operation: Operation
) -> None:
    assert operation_of(extension(annotation, last, **metadata)) is operation


@pytest.mark.parametrize("annotation", ["reconcile", "migrate", "restore"])
@pytest.mark.parametrize("first", [True, False])
def test_the_annotation_starts_work(annotation: str, first: bool) -> None:
    assert is_due(extension(annotation, ("Reconcile", "Succeeded")), first=first)


@pytest.mark.parametrize("metadata", [{}, DELETING])
@pytest.mark.parametrize("first", [True, False])
def test_nothing_is_done_while_the_state_is_waited_for(metadata: dict[str, Any], first: bool) -> None:
    assert not is_due(extension("wait-for-state", **metadata), first=first)


def test_a_deletion_starts_work_as_long_as_it_waits_for_us() -> None:
    assert is_due(extension(last=("Reconcile", "Succeeded"), **DELETING), first=False)
    others = DELETING | {"finalizers": ["example.com/other"]}
    assert not is_due(extension(last=("Delete", "Succeeded"), **others), first=True)


@pytest.mark.parametrize(
    ("last", "due"),
    [
        (None, True),
        (("Create", "Processing"), True),
        (("Reconcile", "Error"), True),
        (("Reconcile", "Succeeded"), False),
        (("Migrate", "Succeeded"), False),
    ],
)
def test_what_a_predecessor_left_undone_is_due_at_first_sight_alone(
    last: tuple[str, str] | None, due: bool
) -> None:
    assert is_due(extension(last=last), first=True) is due
    assert not is_due(extension(last=last), first=False)


@pytest.mark.parametrize(
    ("done", "due"), [("2026-03-01T09:59:59Z", True), ("2026-03-01T10:00:00Z", False), ("nonsense", True)]
)
def test_a_request_whose_annotation_was_taken_away_by_a_process_that_ended_is_not_lost(
    done: str, due: bool
) -> None:
    found = extension(last=("Reconcile", "Succeeded"), asked=ASKED, done=done)
    assert is_due(found, first=True) is due


def test_a_changed_spec_alone_starts_nothing() -> None:
    changed = extension(last=("Reconcile", "Succeeded"), generation=7)
    assert not is_due(changed, first=False)
    assert not is_due(changed, first=True)


@pytest.mark.parametrize(
    ("operation", "skipped"),
    [
        (Operation.RECONCILE, True),
        (Operation.DELETE, True),
        (Operation.MIGRATE, False),
        (Operation.RESTORE, False),
    ],
)
def test_after_a_migration_only_a_restoration_builds_here_again(operation: Operation, skipped: bool) -> None:
    assert is_migrated(extension(last=("Migrate", "Succeeded")), operation) is skipped
    assert not is_migrated(extension(last=("Migrate", "Error")), operation)


@pytest.mark.parametrize(
    ("state", "observed", "failed"), [("Failed", 3, True), ("Failed", 2, False), ("Error", 3, False)]
)
def test_a_shoot_has_failed_until_it_is_changed(state: str, observed: int, failed: bool) -> None:
    status = {"lastOperation": {"state": state}, "observedGeneration": observed}
    assert has_failed({"metadata": {"generation": 3}, "status": status}) is failed
    assert not has_failed({})


@pytest.mark.parametrize(("value", "forced"), [("true", True), ("false", False), ("", False)])
def test_a_shoot_is_deleted_by_force_when_it_says_so(value: str, forced: bool) -> None:
    shoot = {"metadata": {"annotations": {"confirmation.gardener.cloud/force-deletion": value}}}
    assert is_force_deleted(shoot) is forced
    assert not is_force_deleted({})


@pytest.mark.parametrize(
    ("spec", "ours"),
    [
        ({"type": "registry-spegel"}, True),
        ({"type": "registry-spegel", "class": "shoot"}, True),
        ({"type": "registry-spegel", "class": None}, True),
        ({"type": "registry-spegel", "class": "seed"}, False),
        ({"type": "registry-spegel", "class": "garden"}, False),
        ({"type": "registry-cache"}, False),
        ({}, False),
    ],
)
def test_extensions_of_other_types_and_classes_are_others_business(spec: dict[str, Any], ours: bool) -> None:
    assert is_ours({"spec": spec}) is ours


@pytest.mark.parametrize("text", [None, "", "yesterday", "2026-03-01", "2026-03-01T10:00:00", 7])
def test_what_is_no_time_is_none(text: object) -> None:
    assert parse_time(text) is None
