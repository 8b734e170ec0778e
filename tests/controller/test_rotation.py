"""When authorities are made, followed and forgotten; no keys involved."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from controller.certificates.rotation import OVERLAP, Life, Rotation, Step, Term, next_step

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
DAY = timedelta(days=1)
FIRST, SECOND = "2026-03-02T10:00:00Z", "2027-01-07T08:00:00Z"


def term(initiated: str | None, *, start: datetime = START, days: int = 1000) -> Term:
    return Term(Life(start, start + days * DAY), initiated)


def test_without_an_authority_one_is_made() -> None:
    assert next_step(None, None, Rotation("Completed", FIRST), START) is Step.FIRST


@pytest.mark.parametrize("phase", [None, "Preparing", "Prepared", "Completing", "Completed"])
def test_an_authority_is_kept_while_the_shoot_has_not_initiated_a_rotation_since(phase: str | None) -> None:
    assert next_step(term(FIRST), None, Rotation(phase, FIRST), START) is Step.KEEP


def test_a_shoot_that_was_never_rotated_keeps_its_authority() -> None:
    assert next_step(term(None), None, Rotation(), START) is Step.KEEP
    assert next_step(term(FIRST), None, Rotation(), START) is Step.KEEP


@pytest.mark.parametrize("known", [None, FIRST])
@pytest.mark.parametrize("phase", ["Preparing", "PreparingWithoutWorkersRollout", "Completing", "Completed"])
def test_a_new_initiation_begins_a_rotation_whatever_the_phase(known: str | None, phase: str) -> None:
    assert next_step(term(known), None, Rotation(phase, SECOND), START) is Step.BEGIN


@pytest.mark.parametrize(
    ("phase", "step"),
    [
        ("Preparing", Step.KEEP),
        ("PreparingWithoutWorkersRollout", Step.KEEP),
        ("WaitingForWorkersRollout", Step.KEEP),
        ("Prepared", Step.KEEP),
        ("SomethingNew", Step.KEEP),
        ("Completing", Step.END),
        ("Completed", Step.END),
    ],
)
def test_the_predecessor_goes_when_the_rotation_is_completing(phase: str, step: Step) -> None:
    assert next_step(term(SECOND), term(FIRST), Rotation(phase, SECOND), START) is step


def test_an_authority_is_followed_when_it_has_lived_four_fifths_of_its_life() -> None:
    rotation = Rotation("Completed", FIRST)
    assert next_step(term(FIRST), None, rotation, START + 800 * DAY - DAY) is Step.KEEP
    assert next_step(term(FIRST), None, rotation, START + 800 * DAY) is Step.BEGIN


def test_then_no_phase_ends_the_overlap_but_time() -> None:
    rotation = Rotation("Completed", FIRST)
    follower = term(FIRST, start=START + 800 * DAY)
    at = follower.life.start + OVERLAP
    assert next_step(follower, term(FIRST), rotation, at - DAY) is Step.KEEP
    assert next_step(follower, term(FIRST), rotation, at) is Step.END


def test_an_authority_that_is_over_is_no_use() -> None:
    assert next_step(term(FIRST), None, Rotation("Completed", FIRST), START + 1000 * DAY) is Step.FIRST
    over = term(FIRST, days=10)
    assert next_step(term(SECOND), over, Rotation("Preparing", SECOND), START + 11 * DAY) is Step.END
