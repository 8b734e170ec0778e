"""Token buckets by address, and waits between attempts."""

from __future__ import annotations

import pytest

from bootstrapper import rate
from bootstrapper.backoff import Backoff
from bootstrapper.rate import RateLimit, client_of


def test_a_burst_then_the_rate() -> None:
    limit = RateLimit(rate=10, burst=5)
    assert [limit.admit("10.0.0.1", 100) for _ in range(7)] == [True] * 5 + [False] * 2
    assert limit.admit("10.0.0.2", 100), "another client is not concerned"
    assert not limit.admit("10.0.0.1", 100.05)
    assert limit.admit("10.0.0.1", 100.15)
    assert [limit.admit("10.0.0.1", 1000) for _ in range(6)] == [True] * 5 + [False]


def test_a_mass_start_through_one_gateway_does_not_reach_the_default_limit() -> None:
    limit = RateLimit(rate=500, burst=10_000)
    # 1,000 nodes within ten seconds, each with a connection and a request and, at worst, three attempts.
    assert all(limit.admit("10.0.0.1", number / 600) for number in range(6000))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("10.0.0.1", "::ffff:10.0.0.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("unix", "unix", True),
    ],
)
def test_what_counts_as_one_client(one: str, other: str, same: bool) -> None:
    assert (client_of(one) == client_of(other)) is same


def test_the_table_is_bounded_and_forgets_who_was_not_seen_for_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rate, "MAX_CLIENTS", 3)
    limit = RateLimit(rate=0.001, burst=1)
    for number in (1, 2, 3, 1, 4):
        limit.admit(f"10.0.0.{number}", 0)
    assert not limit.admit("10.0.0.1", 0)
    assert limit.admit("10.0.0.2", 0), "it was forgotten"


def test_waits_double_up_to_the_longest_and_begin_anew() -> None:
    backoff = Backoff(lambda: 0.0, first=1, longest=6)
    assert [backoff.next() for _ in range(5)] == [1, 2, 4, 6, 6]
    backoff.reset()
    assert backoff.next() == 1
    assert Backoff(lambda: 1.0, first=1).next() == 0.5
