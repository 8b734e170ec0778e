"""Who is tried last, and for how long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.mirror.fault import Fault
from daemon.mirror.reputation import Reputation

A, B = "sha256:a", "sha256:b"


def test_nobody_is_suspect_at_first() -> None:
    assert Reputation().points("peer", A, 0) == 0


@pytest.mark.parametrize("fault", [Fault.UNREACHABLE, Fault.REFUSED, Fault.LIED])
def test_a_fault_speaks_against_the_peer_for_all_content(fault: Fault) -> None:
    reputation = Reputation()
    reputation.blame("peer", A, fault, 0)
    assert reputation.points("peer", B, 1) > 0
    assert reputation.points("other", A, 1) == 0


def test_missing_content_speaks_against_the_peer_for_this_content_only() -> None:
    reputation = Reputation()
    reputation.blame("peer", A, Fault.MISSING, 0)
    assert reputation.points("peer", A, 1) > 0
    assert reputation.points("peer", B, 1) == 0


def test_being_asked_too_much_is_nobodys_fault() -> None:
    reputation = Reputation()
    reputation.blame("peer", A, Fault.BUSY, 0)
    assert reputation.points("peer", A, 0) == 0


def test_faults_lapse() -> None:
    reputation = Reputation()
    reputation.blame("peer", A, Fault.UNREACHABLE, 0)
    assert reputation.points("peer", A, 29) > 0
    assert reputation.points("peer", A, 30) == 0


def test_a_lie_counts_for_longer_than_a_failure() -> None:
    reputation = Reputation()
    reputation.blame("peer", A, Fault.LIED, 0)
    assert reputation.points("peer", A, 140) > 0
    assert reputation.points("peer", A, 180) == 0


def test_nobody_is_shunned_for_ever() -> None:
    reputation = Reputation()
    for _ in range(1000):
        reputation.blame("peer", A, Fault.LIED, 0)
    assert reputation.points("peer", A, 200) == 0


def test_good_service_takes_a_failure_back() -> None:
    reputation = Reputation()
    reputation.blame("peer", A, Fault.UNREACHABLE, 0)
    reputation.blame("peer", A, Fault.MISSING, 0)
    reputation.praise("peer", A, 1)
    assert reputation.points("peer", A, 1) == 0


def test_good_service_does_not_take_a_lie_back() -> None:
    reputation = Reputation()
    reputation.blame("peer", A, Fault.LIED, 0)
    reputation.praise("peer", A, 1)
    assert reputation.points("peer", A, 1) > 0


@given(st.lists(st.tuples(st.integers(0, 3000), st.sampled_from(Fault)), max_size=3000))
def test_the_table_is_bounded(faults: list[tuple[int, Fault]]) -> None:
    reputation = Reputation()
    for number, fault in faults:
        reputation.blame(f"peer-{number}", A, fault, number)
    assert len(reputation._points) <= 1024


def test_the_oldest_is_forgotten_first() -> None:
    reputation = Reputation()
    for number in range(1025):
        reputation.blame(f"peer-{number}", A, Fault.LIED, 0)
    assert reputation.points("peer-0", A, 0) == 0
    assert reputation.points("peer-1", A, 0) > 0
