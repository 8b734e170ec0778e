"""What is believed of peers' latency."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.mirror.latency import HEDGE, PATIENCE, Latency

seconds = st.floats(0.0001, 10)


def test_defaults_stand_until_enough_is_known() -> None:
    latency = Latency()
    for _ in range(7):
        latency.answered(0.001)
    assert latency.quantile(0.8) is None
    assert latency.hedges()[0] == HEDGE.default
    assert latency.patience() == PATIENCE.default


def test_answers_alone_give_plain_quantiles() -> None:
    latency = Latency()
    for number in range(1, 11):
        latency.answered(number / 100)
    assert [latency.quantile(fraction) for fraction in (0.5, 0.8, 0.9, 1.0)] == [0.05, 0.08, 0.09, 0.1]


def test_hedges_follow_the_80th_85th_and_90th_percentile() -> None:
    latency = Latency()
    for number in range(1, 21):
        latency.answered(number / 200)
    assert latency.hedges() == pytest.approx((0.08, 0.09, 0.1))


def test_hedges_never_come_all_at_once() -> None:
    latency = Latency()
    for _ in range(20):
        latency.answered(0.001)
    assert latency.hedges() == pytest.approx((0.01, 0.02, 0.03))


def test_what_was_cut_short_counts_as_longer() -> None:
    latency = Latency()
    for _ in range(10):
        latency.answered(0.01)
    for _ in range(10):
        latency.cut_short(0.02)
    assert latency.quantile(0.5) == 0.01
    assert latency.quantile(0.8) == math.inf


def test_what_failed_at_once_says_nothing() -> None:
    latency = Latency()
    for _ in range(20):
        latency.answered(0.01)
        latency.cut_short(0.0001)
    assert latency.quantile(0.9) == 0.01


def test_slow_peers_cannot_lock_themselves_out() -> None:
    """spegel-org/spegel#1469: it never noticed, since it looked only at answers in time."""
    latency = Latency()
    for _ in range(1000):
        latency.answered(0.001)
    assert latency.patience() == PATIENCE.floor
    slow, given_up = 1.4, 0
    while latency.patience() < slow:
        latency.cut_short(latency.patience())
        given_up += 1
        assert given_up < 10
    for _ in range(1000):
        assert latency.patience() >= slow, "it has learnt, and stays so"
        latency.answered(slow)


def test_quick_times_are_believed_again() -> None:
    latency = Latency()
    for _ in range(100):
        latency.cut_short(2.5)
    for _ in range(100):
        latency.answered(0.001)
    assert latency.hedges()[0] == HEDGE.floor
    assert latency.patience() == PATIENCE.floor


@given(st.lists(st.tuples(seconds, st.booleans()), max_size=100))
def test_estimates_stay_in_bounds_and_order(seen: list[tuple[float, bool]]) -> None:
    latency = Latency()
    for value, cut_short in seen:
        (latency.cut_short if cut_short else latency.answered)(value)
    hedges = latency.hedges()
    assert list(hedges) == sorted(set(hedges))
    assert HEDGE.floor <= hedges[0]
    assert hedges[0] <= HEDGE.ceiling
    assert hedges[-1] <= HEDGE.ceiling + 3 * HEDGE.floor
    assert PATIENCE.floor <= latency.patience() <= PATIENCE.ceiling


@given(st.lists(st.tuples(seconds, st.booleans()), min_size=8, max_size=64), st.floats(0.01, 1))
def test_the_estimate_is_never_below_that_of_the_answers(
    seen: list[tuple[float, bool]], fraction: float
) -> None:
    """Cutting short can only raise it: the value of each one that was cut short is a lower bound."""
    everything, as_if_answered = Latency(), Latency()
    for value, cut_short in seen:
        (everything.cut_short if cut_short else everything.answered)(value)
        as_if_answered.answered(value)
    estimate, lower = everything.quantile(fraction), as_if_answered.quantile(fraction)
    assert estimate is not None
    assert lower is not None
    assert estimate >= lower
