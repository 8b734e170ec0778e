"""Who may lead."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.lifecycle import lease

NOW = datetime(2026, 3, 1, 10, 0, 0, 123456, UTC)


def claim(spec: Any, me: str = "a", *, unchanged: float = 0.0) -> Any:
    return lease.claim(spec, me, unchanged_seconds=unchanged, seconds=15, now=NOW)


def test_the_first_one_leads() -> None:
    assert claim(None) == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "renewTime": "2026-03-01T10:00:00.123456Z",
        "acquireTime": "2026-03-01T10:00:00.123456Z",
        "leaseTransitions": 0,
    }


def test_the_leader_stays_and_keeps_the_rest_of_the_record() -> None:
    held = claim(None) | {"renewTime": "2026-01-01T00:00:00.000000Z", "acquireTime": "then", "strategy": "x"}
    assert claim(held) == held | {"renewTime": "2026-03-01T10:00:00.123456Z"}


@pytest.mark.parametrize(("unchanged", "leads"), [(0.0, False), (14.9, False), (15.0, True)])
def test_another_leads_until_it_has_been_silent_for_its_term(unchanged: float, leads: bool) -> None:
    found = claim(claim(None), "b", unchanged=unchanged)
    assert (found is not None) is leads
    if leads:
        assert (found["holderIdentity"], found["leaseTransitions"]) == ("b", 1)


def test_what_was_given_up_can_be_had_at_once() -> None:
    assert claim(lease.release(claim(None)), "b")["holderIdentity"] == "b"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 40)), max_size=20))
def test_nobody_takes_over_within_the_term_of_another(steps: list[tuple[str, float]]) -> None:
    spec, clock, renewed = None, 0.0, 0.0
    for me, pause in steps:
        clock += pause
        claimed = claim(spec, me, unchanged=clock - renewed)
        if claimed is None:
            assert clock - renewed < 15
            continue
        if spec is not None and spec["holderIdentity"] != me:
            assert clock - renewed >= 15
        spec, renewed = claimed, clock
