from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daemon.http.shares import Shares


class Sharer:
    def __init__(self) -> None:
        self.told: list[int] = []

    def share(self, among: int) -> None:
        self.told.append(among)


def test_everybody_is_told_when_the_number_has_doubled() -> None:
    shares: Shares[Sharer] = Shares()
    sharers = [Sharer() for _ in range(9)]
    for sharer in sharers:
        shares.enter(sharer)
    assert sharers[0].told == [1, 2, 4, 8, 16]
    assert sharers[2].told == [4, 8, 16]
    assert sharers[3].told == [4, 8, 16]


def test_those_who_stay_get_more_when_others_leave_but_not_at_every_step() -> None:
    shares: Shares[Sharer] = Shares()
    sharers = [Sharer() for _ in range(8)]
    for sharer in sharers:
        shares.enter(sharer)
    last = sharers[-1]
    last.told.clear()
    for sharer in sharers[:-1]:
        shares.leave(sharer)
    assert last.told == [2]


def test_leaving_twice_is_leaving() -> None:
    shares: Shares[Sharer] = Shares()
    one, *others = [Sharer() for _ in range(5)]
    for sharer in (one, *others):
        shares.enter(sharer)
    shares.leave(one)
    shares.leave(one)
    shares.leave(one)
    assert others[0].told == [2, 4, 8]


@given(st.lists(st.booleans(), max_size=200))
def test_shares_together_are_never_more_than_all_and_never_less_than_a_quarter(steps: list[bool]) -> None:
    shares: Shares[Sharer] = Shares()
    present: list[Sharer] = []
    for comes in steps:
        if comes:
            present.append(Sharer())
            shares.enter(present[-1])
        elif present:
            shares.leave(present.pop(0))
        taken = sum(1 / sharer.told[-1] for sharer in present)
        assert not present or 1 / 4 < taken <= 1
