"""Which of the certificates that clients show ends first."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from bootstrapper.expiry import WINDOW_SECONDS, EarliestEnd


def test_the_first_end_counts_as_long_as_somebody_shows_it() -> None:
    ends = EarliestEnd()
    assert ends.at(0) == math.inf
    ends.note(500, now=0)
    ends.note(900, now=WINDOW_SECONDS)
    assert ends.at(WINDOW_SECONDS) == 500
    assert ends.at(WINDOW_SECONDS + 1) == 900
    ends.note(500, now=WINDOW_SECONDS + 2)
    assert ends.at(WINDOW_SECONDS + 2) == 500
    assert ends.at(3 * WINDOW_SECONDS) == math.inf


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=300))
def test_however_many_there_are_the_first_is_known_and_memory_is_bounded(many: list[int]) -> None:
    ends = EarliestEnd()
    for end in many:
        ends.note(end, now=0)
    assert ends.at(0) == min(many)
    assert len(ends._seen) <= 100
