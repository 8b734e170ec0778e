"""The cap on a rate; the test moves the clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.http.bucket import TokenBucket


def test_after_a_rest_a_burst_goes_through_at_once() -> None:
    bucket = TokenBucket(rate=100, burst=50)
    assert bucket.reserve(50, now=0) == 0
    assert bucket.reserve(10, now=0) == pytest.approx(0.1)
    assert bucket.reserve(50, now=10) == 0


def test_reservations_queue_up() -> None:
    bucket = TokenBucket(rate=100, burst=0)
    assert [bucket.reserve(100, now=5) for _ in range(3)] == pytest.approx([1, 2, 3])
    assert bucket.reserve(100, now=7) == pytest.approx(2)


def test_a_step_larger_than_the_burst_waits_for_its_surplus_only() -> None:
    bucket = TokenBucket(rate=100, burst=50)
    assert bucket.reserve(150, now=0) == pytest.approx(1)


@given(
    st.lists(st.tuples(st.integers(1, 1000), st.floats(0, 10)), min_size=1),
    st.integers(1, 1000),
    st.integers(0, 1000),
)
def test_no_span_of_time_lets_more_through_than_rate_and_burst(
    steps: list[tuple[int, float]], rate: int, burst: int
) -> None:
    bucket = TokenBucket(rate, burst)
    now, sent = 0.0, []
    for count, pause in steps:
        now += pause
        sent.append((now + bucket.reserve(count, now), count))
    for index, (start, _) in enumerate(sent):
        through = 0
        for end, count in sent[index:]:
            through += count
            # The first step of a span may have waited for itself: it started before.
            assert through - sent[index][1] <= rate * (end - start) + burst + 1e-3
