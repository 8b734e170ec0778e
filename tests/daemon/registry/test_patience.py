from __future__ import annotations

from daemon.registry.patience import LIMIT, MEMORY, SHORT_LIMIT, Patience


def test_a_store_that_hung_gets_little_time_for_a_while() -> None:
    patience = Patience()
    assert patience.limit(0) == LIMIT
    patience.exhausted(LIMIT)
    assert patience.limit(LIMIT) == patience.limit(LIMIT + MEMORY - 0.1) == SHORT_LIMIT
    assert patience.limit(LIMIT + MEMORY) == LIMIT


def test_a_store_that_is_slower_than_the_short_limit_gets_a_chance_again_and_again() -> None:
    patience = Patience()
    for start in (0, MEMORY, 2 * MEMORY):
        assert patience.limit(start) == LIMIT
        patience.exhausted(start)
        patience.exhausted(start + MEMORY / 2)
        assert patience.limit(start + MEMORY - 0.1) == SHORT_LIMIT


def test_one_answer_makes_up_for_it() -> None:
    patience = Patience()
    patience.exhausted(0)
    patience.answered()
    assert patience.limit(1) == LIMIT
