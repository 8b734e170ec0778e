"""Whom to ask when, and when to stop: on a clock that only the test moves."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.mirror.race import Abandon, Race, Start, Terms, Verdict

TERMS = Terms(tries=3, resolve=0.02, hedges=(0.05, 0.06, 0.07), patience=1.0, short_patience=0.1, limit=3.0)


def race(*peers: str, searched: bool = False) -> Race:
    """A race that starts at 0 and knows some peers."""
    result = Race(TERMS, 0)
    for peer in peers:
        result.found(peer)
    if searched:
        result.searched()
    return result


def is_over(race: Race) -> bool:
    return race.verdict is not Verdict.OPEN


def started(race: Race, now: float) -> list[str]:
    return [action.peer for action in race.step(now) if isinstance(action, Start)]


class TestWithoutPeers:
    def test_it_is_lost_after_the_resolve_timeout(self) -> None:
        lonely = race()
        assert lonely.step(0) == []
        assert lonely.wake() == TERMS.resolve
        lonely.step(TERMS.resolve - 0.001)
        assert not is_over(lonely)
        lonely.step(TERMS.resolve)
        assert lonely.verdict is Verdict.LOST

    def test_it_is_lost_at_once_when_the_search_is_over(self) -> None:
        lonely = race(searched=True)
        lonely.step(0.001)
        assert lonely.verdict is Verdict.LOST
        assert lonely.tried == 0


class TestOnePeer:
    def test_is_asked_at_once(self) -> None:
        assert started(race("a"), 0) == ["a"]

    def test_wins_by_answering(self) -> None:
        running = race("a")
        running.step(0)
        assert running.answered("a")
        assert running.step(0.01) == []
        assert running.verdict is Verdict.WON

    def test_is_waited_for_longer_than_the_resolve_timeout(self) -> None:
        running = race("a", searched=True)
        running.step(0)
        assert running.step(0.9) == []
        assert running.verdict is Verdict.OPEN

    def test_is_abandoned_when_its_time_is_up(self) -> None:
        running = race("a", searched=True)
        running.step(0)
        assert running.wake() == TERMS.patience
        assert running.step(TERMS.patience) == [Abandon("a", suspect=False)]
        assert running.verdict is Verdict.LOST

    def test_that_answers_after_that_does_not_win(self) -> None:
        running = race("a")
        running.step(0)
        running.step(TERMS.patience)
        assert not running.answered("a")

    def test_that_fails_leaves_a_moment_for_another_to_be_found(self) -> None:
        running = race("a")
        running.step(0)
        running.failed("a", 0.5)
        assert running.step(0.5) == []
        assert running.wake() == pytest.approx(0.5 + TERMS.resolve)
        running.found("b")
        assert started(running, 0.51) == ["b"]

    def test_that_fails_ends_a_race_that_nobody_else_can_join(self) -> None:
        running = race("a", searched=True)
        running.step(0)
        running.failed("a", 0.5)
        running.step(0.5)
        assert running.verdict is Verdict.LOST

    def test_that_nobody_asked_cannot_fail_or_answer(self) -> None:
        running = race("a")
        running.failed("b", 0)
        assert not running.answered("b")
        assert started(running, 0) == ["a"]


class TestSeveralPeers:
    def test_are_not_asked_together(self) -> None:
        assert started(race("a", "b", "c"), 0) == ["a"]

    def test_are_asked_one_after_another_when_the_first_is_slow(self) -> None:
        running = race("a", "b", "c", "d")
        assert started(running, 0) == ["a"]
        assert running.wake() == 0.05
        assert started(running, 0.049) == []
        assert started(running, 0.05) == ["b"]
        assert running.wake() == 0.06
        assert started(running, 0.06) == ["c"]
        assert started(running, 0.5) == [], "three tries are all"

    def test_the_next_is_asked_at_once_when_one_fails(self) -> None:
        running = race("a", "b", "c")
        running.step(0)
        running.failed("a", 0.001)
        assert started(running, 0.001) == ["b"]
        running.failed("b", 0.002)
        assert started(running, 0.002) == ["c"]
        running.failed("c", 0.003)
        running.step(0.003)
        assert running.verdict is Verdict.LOST
        assert running.tried == 3

    def test_one_of_several_that_fails_is_replaced_at_once(self) -> None:
        running = race("a", "b", "c")
        running.step(0)
        assert started(running, 0.05) == ["b"]
        running.failed("a", 0.051)
        assert started(running, 0.051) == ["c"]

    def test_a_failure_does_not_use_up_a_hedge(self) -> None:
        running = race("a", "b", "c")
        running.step(0)
        running.failed("a", 0.001)
        assert started(running, 0.001) == ["b"]
        assert started(running, 0.05) == ["c"]

    def test_a_hedge_waits_for_somebody_to_be_found(self) -> None:
        running = race("a")
        running.step(0)
        assert started(running, 0.2) == []
        running.found("b")
        assert started(running, 0.3) == ["b"]

    def test_the_one_whose_time_is_up_makes_room(self) -> None:
        running = Race(Terms(3, 0.02, (), 1.0, 0.1, 3.0), 0)
        for peer in "ab":
            running.found(peer)
        running.step(0)
        assert running.step(1.0) == [Abandon("a", suspect=False), Start("b")]

    def test_the_slower_ones_do_not_win_as_well(self) -> None:
        running = race("a", "b")
        running.step(0)
        running.step(0.05)
        assert running.answered("b")
        assert not running.answered("a")

    def test_one_that_is_found_twice_is_asked_once(self) -> None:
        running = race("a", "a")
        running.step(0)
        running.found("a")
        assert started(running, 0.5) == []

    def test_the_limit_ends_everything(self) -> None:
        running = race("a", "b")
        running.step(0)
        running.step(TERMS.limit)
        assert running.verdict is Verdict.LOST


class TestSuspects:
    def test_come_last(self) -> None:
        running = race()
        running.found("liar", 16.0)
        running.found("suspect", 1.0)
        running.found("good")
        assert started(running, 0) == ["good"]
        assert started(running, 0.05) == ["suspect"]
        assert started(running, 0.06) == ["liar"]

    def test_wait_while_somebody_better_may_be_found(self) -> None:
        running = race()
        running.found("suspect", 1.0)
        assert started(running, 0) == []
        assert running.wake() == TERMS.resolve / 2
        running.found("good")
        assert started(running, 0.005) == ["good"]

    def test_are_asked_before_the_race_would_be_lost(self) -> None:
        running = race()
        running.found("suspect", 1.0)
        running.step(0)
        assert started(running, TERMS.resolve / 2) == ["suspect"]

    def test_are_asked_at_once_when_there_is_nobody_else(self) -> None:
        running = race(searched=True)
        running.found("suspect", 1.0)
        assert started(running, 0) == ["suspect"]

    def test_have_little_time(self) -> None:
        running = race(searched=True)
        running.found("suspect", 1.0)
        running.step(0)
        assert running.step(0.1) == [Abandon("suspect", suspect=True)]
        assert running.verdict is Verdict.LOST


@dataclass
class Story:
    """What will happen; times in seconds from the start."""

    peers: dict[str, tuple[float, float, float, bool]]
    """By name: when it is found, its points, how long it takes (maybe for ever), whether it fails."""
    searched: float
    terms: Terms


@dataclass
class Course:
    """What did happen."""

    starts: dict[str, float] = field(default_factory=dict)
    most_at_once: int = 0
    longest_idle: float = 0.0
    end: float = 0.0
    won_by: str | None = None


def run(story: Story) -> tuple[Race, Course]:
    """Play a story against the machine as its driver would."""
    machine, course = Race(story.terms, 0), Course()
    events = [(found, 0, name) for name, (found, *_) in story.peers.items()]
    events.append((story.searched, 1, ""))
    heapq.heapify(events)
    running: set[str] = set()
    now = idle_since = 0.0
    while True:
        for action in machine.step(now):
            if isinstance(action, Start):
                assert action.peer not in course.starts, "nobody is asked twice"
                assert story.peers[action.peer][0] <= now, "nobody is asked before being found"
                if not running:
                    course.longest_idle = max(course.longest_idle, now - idle_since)
                course.starts[action.peer] = now
                running.add(action.peer)
                _, _, takes, _ = story.peers[action.peer]
                if takes < math.inf:
                    heapq.heappush(events, (now + takes, 2, action.peer))
            else:
                running.remove(action.peer)
                idle_since = now
        course.most_at_once = max(course.most_at_once, len(running))
        if machine.verdict is not Verdict.OPEN:
            if not running:
                course.longest_idle = max(course.longest_idle, now - idle_since)
            course.end = now
            return machine, course
        wake = machine.wake()
        assert now < wake < math.inf, "the machine must not spin, nor sleep for ever"
        if not events or wake < events[0][0]:
            now = wake
            continue
        now, kind, name = heapq.heappop(events)
        if kind == 0:
            machine.found(name, story.peers[name][1])
        elif kind == 1:
            machine.searched()
        elif name in running:
            if story.peers[name][3]:
                running.remove(name)
                idle_since = now
                machine.failed(name, now)
            else:
                assert machine.answered(name)
                course.won_by = name


times = st.floats(0.0001, 5) | st.floats(0.0001, 0.03)
stories = st.builds(
    Story,
    peers=st.dictionaries(
        st.sampled_from("abcdefgh"),
        st.tuples(times, st.just(0.0) | st.floats(0.5, 32), times | st.just(math.inf), st.booleans()),
    ),
    searched=times | st.just(math.inf),
    terms=st.builds(
        Terms,
        tries=st.integers(1, 5),
        resolve=st.floats(0.001, 0.1),
        hedges=st.lists(st.floats(0.01, 0.3), max_size=3).map(lambda delays: tuple(sorted(delays))),
        patience=st.floats(0.5, 2.5),
        short_patience=st.just(0.1),
        limit=st.just(3.0),
    ),
)


class TestAlways:
    @given(stories)
    def test_it_keeps_to_its_terms(self, story: Story) -> None:
        machine, course = run(story)
        assert machine.tried == len(course.starts) <= story.terms.tries
        assert course.most_at_once <= story.terms.tries
        assert course.end <= story.terms.limit + 1e-9
        assert course.longest_idle <= story.terms.resolve + 1e-9

    @given(stories)
    def test_nobody_found_means_lost_within_the_resolve_timeout(self, story: Story) -> None:
        machine, course = run(story)
        if not course.starts:
            assert machine.verdict is Verdict.LOST
            assert course.end <= min(story.terms.resolve, story.terms.limit) + 1e-9

    @given(stories)
    def test_it_is_won_by_whoever_answers_first(self, story: Story) -> None:
        machine, course = run(story)
        answers = {
            name: at + story.peers[name][2] for name, at in course.starts.items() if not story.peers[name][3]
        }
        assert all(at >= course.end or self._too_late(story, name) for name, at in answers.items())
        assert (machine.verdict is Verdict.WON) == (course.won_by is not None)
        assert course.won_by is None or answers[course.won_by] == course.end

    @given(stories)
    def test_it_is_not_given_up_while_somebody_good_waits_to_be_asked(self, story: Story) -> None:
        machine, course = run(story)
        if machine.verdict is Verdict.LOST and machine.tried < story.terms.tries:
            waiting = [
                name
                for name, (found, points, *_) in story.peers.items()
                if found < course.end and not points and name not in course.starts
            ]
            assert not waiting or course.end >= story.terms.limit

    def _too_late(self, story: Story, name: str) -> bool:
        _, points, takes, _ = story.peers[name]
        return takes >= (story.terms.short_patience if points else story.terms.patience) - 1e-9
