"""The webhook's own authority and certificate over the years: what is served is always trusted."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.certificates.rotation import Life
from controller.lifecycle.webhook_certificate import (
    AUTHORITY_LIFE,
    Served,
    needs_authority,
    needs_certificate,
    trusted,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
BACKDATED = timedelta(minutes=5)


@dataclass
class Model:
    """Authorities by number; what API servers trust and what is served are numbers of them."""

    lives: list[Life] = field(default_factory=list)
    told: list[int] = field(default_factory=list)
    told_at: dict[int, datetime] = field(default_factory=dict)
    served: tuple[int, Life] | None = None

    def sync(self, now: datetime) -> None:
        current = self.lives[-1] if self.lives else None
        if current is None or needs_authority(current, now):
            current = Life(now - BACKDATED, now + AUTHORITY_LIFE)
            self.lives.append(current)
        mine = len(self.lives) - 1
        seen = self.served and Served(self.served[1], self.served[0] == mine, fits=True)
        former = [number for number in self.told if number != mine]
        kept = trusted(current, [self.lives[number] for number in former], seen, now)
        announced = mine in self.told
        self.told = [mine, *(number for number, is_kept in zip(former, kept, strict=True) if is_kept)]
        self.told_at = {number: self.told_at.get(number, now) for number in self.told}
        if needs_certificate(current, seen, now, announced=announced):
            self.served = (mine, Life(now - BACKDATED, min(now + timedelta(days=365), current.end)))


@settings(max_examples=60)
@given(st.lists(st.integers(1, 12 * 60), min_size=20, max_size=300))
def test_what_is_served_is_trusted_and_valid_as_long_as_somebody_looks_twice_a_day(pauses: list[int]) -> None:
    model, now = Model(), START
    model.sync(now)
    for pause in pauses * 3:
        before = model.served
        now += timedelta(minutes=pause)
        # Just before the leader looks: nothing has run out.
        assert model.served is not None
        number, life = model.served
        assert number in model.told
        assert now < life.end
        assert now < model.lives[number].end
        model.sync(now)
        assert model.served is not None
        assert model.served[0] in model.told
        if model.served != before:
            # API servers were told of the authority well before.
            assert now - model.told_at[model.served[0]] >= timedelta(minutes=1)
            assert before is not None
            assert before[0] in model.told, "replicas that have not read the new one yet are still trusted"
        assert len(model.told) <= 2


def test_the_former_authority_is_forgotten_a_day_after_the_new_one_was_made() -> None:
    model, now = Model(), START
    model.sync(now)
    rotated = START + AUTHORITY_LIFE * 0.8
    for minutes in range(0, 25 * 60, 5):
        now = rotated + timedelta(minutes=minutes)
        model.sync(now)
        if minutes == 0:
            assert (model.told, model.served and model.served[0]) == ([1, 0], 0)
        elif minutes == 15:
            assert (model.told, model.served and model.served[0]) == ([1, 0], 1)
    assert model.told == [1]


LIFE = Life(START, START + AUTHORITY_LIFE)


@pytest.mark.parametrize(
    "served",
    [
        None,
        Served(LIFE, by_authority=True, fits=False),
        Served(Life(START - AUTHORITY_LIFE, START), by_authority=False, fits=True),
    ],
)
def test_what_does_not_work_is_replaced_without_waiting(served: Served | None) -> None:
    assert needs_certificate(LIFE, served, START, announced=False)


def test_the_former_authority_stays_as_long_as_its_certificate_is_served() -> None:
    served = Served(LIFE, by_authority=False, fits=True)
    days = START + timedelta(days=3)
    assert trusted(LIFE, [LIFE, Life(START, START)], served, days) == [True, False]
    assert trusted(LIFE, [LIFE], None, days) == [False]
