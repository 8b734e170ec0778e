"""When keys are provided, on a clock that the test moves."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from daemon.kademlia.key import content_key, position
from daemon.kademlia.parameters import PROVIDE_DELAY, PROVIDE_INTERVAL, RECORD_VALIDITY
from daemon.kademlia.provide import RENEWAL, RETRY_DELAY, Schedule

KEYS = [content_key(f"{number}") for number in range(400)]
LOCAL = position(b"local")


def drain(schedule: Schedule, now: float) -> list[bytes]:
    taken = []
    while (key := schedule.take(now)) is not None:
        taken.append(key)
    return taken


def started(now: float = 0) -> Schedule:
    """A schedule whose keys have been provided once."""
    schedule = Schedule(LOCAL, now)
    drain(schedule, now)
    schedule.add(KEYS)
    assert sorted(drain(schedule, now)) == sorted(KEYS)
    return schedule


def run(schedule: Schedule, start: float, end: float) -> dict[bytes, list[float]]:
    """Take whatever is due as soon as it is; return when each key was."""
    times: dict[bytes, list[float]] = defaultdict(list)
    now = start
    while now < end:
        for key in drain(schedule, now):
            times[key].append(now)
        now = max(now, schedule.wake_at())
    return times


def test_new_keys_are_due_at_once():
    schedule = Schedule(LOCAL, 0)
    schedule.add(KEYS[:3])
    assert len(schedule) == 3
    assert schedule.wake_at() <= 0
    assert sorted(drain(schedule, 0)) == sorted(KEYS[:3])


def test_keys_that_are_provided_already_are_left_alone():
    schedule = started()
    schedule.add(KEYS)
    assert drain(schedule, 0) == []


def test_every_key_is_due_once_in_every_interval():
    times = run(started(), 0, 4 * PROVIDE_INTERVAL)
    assert set(times) == set(KEYS)
    assert {len(when) for when in times.values()} <= {3, 4}
    for when in times.values():
        gaps = [later - earlier for earlier, later in pairwise([0, *when])]
        assert max(gaps) <= PROVIDE_INTERVAL + 1e-6


def test_reproviding_is_spread_over_the_interval():
    times = run(started(), 1, PROVIDE_INTERVAL + 1)
    per_time: dict[float, int] = defaultdict(int)
    for when in times.values():
        for moment in when:
            per_time[moment] += 1
    assert len(per_time) == 16
    assert max(per_time.values()) < 3 * len(KEYS) / 16


def test_nodes_take_the_parts_of_the_space_in_different_orders():
    def order(local: int) -> list[int]:
        schedule = Schedule(local, 0)
        schedule.add(KEYS)
        drain(schedule, 0)
        times = run(schedule, 0, PROVIDE_INTERVAL + 1)
        return list({position(key) >> 252: None for key in sorted(times, key=lambda key: times[key][-1])})

    assert order(0) != order(5 << 252)


def test_keys_of_a_prefix_travel_together():
    schedule = Schedule(LOCAL, 0)
    schedule.add(KEYS)
    together = {key for key in KEYS if position(key) >> 253 == 0b101}
    assert set(schedule.claim(0b101, 3)) == together
    assert set(drain(schedule, 0)) == set(KEYS) - together


def test_the_empty_prefix_claims_all():
    schedule = Schedule(LOCAL, 0)
    schedule.add(KEYS)
    assert sorted(schedule.claim(0, 0)) == sorted(KEYS)
    assert schedule.take(0) is None


def test_withdrawn_keys_are_due_no_more():
    schedule = started()
    schedule.remove(KEYS[:200])
    schedule.remove([b"never added"])
    assert KEYS[0] not in schedule
    assert KEYS[300] in schedule
    assert set(run(schedule, 0, PROVIDE_INTERVAL + 1)) == set(KEYS[200:])


def test_a_key_withdrawn_before_it_was_sent_is_not_sent():
    schedule = Schedule(LOCAL, 0)
    schedule.add(KEYS)
    schedule.remove(KEYS[1:])
    assert drain(schedule, 0) == KEYS[:1]


def test_keys_that_failed_are_due_again_soon():
    schedule = started()
    schedule.failed(KEYS[:2], 1)
    assert schedule.wake_at() <= 1 + RETRY_DELAY
    assert set(KEYS[:2]) <= set(run(schedule, 1, 2 + RETRY_DELAY))


def test_a_key_withdrawn_after_it_failed_is_not_sent_again():
    schedule = Schedule(LOCAL, 0)
    schedule.add(KEYS[:1])
    schedule.failed(drain(schedule, 0), 0)
    schedule.remove(KEYS[:1])
    assert run(schedule, 0, 3 * PROVIDE_INTERVAL) == {}


def test_a_renewal_provides_everything_within_a_minute_but_not_at_once():
    schedule = started()
    drain(schedule, 100)
    schedule.renew(100)
    times = run(schedule, 100, 101 + RENEWAL)
    assert set(times) == set(KEYS)
    assert len({when[0] for when in times.values()}) > 10


def test_renewals_that_follow_one_upon_another_postpone_nothing():
    schedule = started()
    due: set[bytes] = set()
    for now in range(100, 100 + 2 * int(RENEWAL)):
        schedule.renew(now)
        due.update(drain(schedule, now))
    assert due == set(KEYS)


def test_a_key_is_never_late_after_a_renewal():
    schedule = started()
    run(schedule, 0, 333)
    schedule.renew(333)
    times = run(schedule, 333, 333 + 3 * PROVIDE_INTERVAL)
    for when in times.values():
        gaps = [later - earlier for earlier, later in pairwise(when)]
        assert max(gaps) <= PROVIDE_INTERVAL + PROVIDE_DELAY < RECORD_VALIDITY


def test_after_a_long_sleep_every_key_is_due_once():
    schedule = started()
    assert sorted(drain(schedule, 20 * PROVIDE_INTERVAL)) == sorted(KEYS)
    assert schedule.wake_at() > 20 * PROVIDE_INTERVAL


@given(st.floats(0, 1e7), st.integers(0, 15))
def test_no_clock_makes_a_turn_come_twice_or_never(now: float, part: int):
    schedule = Schedule(part << 252, now)
    schedule.add(KEYS[:20])
    drain(schedule, now)
    times = run(schedule, now, now + 2 * PROVIDE_INTERVAL)
    assert {len(when) for when in times.values()} <= {1, 2}
    assert set(times) == set(KEYS[:20])


class ScheduleModel(RuleBasedStateMachine):
    """No key is ever lost: whatever happens, a key is due within an interval and its slack, or withdrawn."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule = Schedule(LOCAL, 0)
        self.now = 0.0
        self.since: dict[bytes, float] = {}

    @rule(some=st.sets(st.sampled_from(KEYS[:50])))
    def add(self, some: set[bytes]) -> None:
        self.schedule.add(some)
        for key in some:
            self.since.setdefault(key, self.now)

    @rule(some=st.sets(st.sampled_from(KEYS[:50]), max_size=10))
    def remove(self, some: set[bytes]) -> None:
        self.schedule.remove(some)
        for key in some:
            self.since.pop(key, None)

    @rule(wait=st.floats(0, 200), fails=st.booleans())
    def work(self, wait: float, fails: bool) -> None:
        self.now += wait
        key = self.schedule.take(self.now)
        if key is None:
            return
        keys = [key, *self.schedule.claim(0, 0)]
        assert set(keys) <= set(self.since)
        if fails:
            self.schedule.failed(keys, self.now)
        for one in keys:
            self.since[one] = self.now

    @rule()
    def renew(self) -> None:
        self.schedule.renew(self.now)

    @invariant()
    def nothing_is_overdue(self) -> None:
        assert len(self.schedule) == len(self.since)
        overdue = [key for key, since in self.since.items() if self.now - since > PROVIDE_INTERVAL + RENEWAL]
        if overdue:
            assert self.schedule.wake_at() <= self.now


TestScheduleModel = ScheduleModel.TestCase
TestScheduleModel.settings = settings(deadline=None, max_examples=50)
