"""What is looked at, and when."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from daemon.oci.digest import Digest
from daemon.store.base import Event, EventKind
from daemon.sync.backlog import (
    AFTER_DELETION,
    GATHER,
    LONG_AFTER_DELETION,
    MAX_CONTENTS,
    MAX_IMAGES,
    MAX_PENDING,
    READING_RETRY_DELAYS,
    RETRY_DELAYS,
    Backlog,
)

RESYNC = Event(EventKind.RESYNC)


def changed(name: str) -> Event:
    return Event(EventKind.IMAGE_CHANGED, name)


def deleted(name: str) -> Event:
    return Event(EventKind.IMAGE_DELETED, name)


def created(number: int) -> Event:
    return Event(EventKind.CONTENT_CREATED, digest=digest(number))


def digest(number: int) -> Digest:
    return Digest(f"sha256:{number:064x}")


def test_nothing_is_to_be_done_at_first():
    assert Backlog(60).due == math.inf


def test_a_resync_is_done_at_once_and_again_after_the_interval():
    backlog = Backlog(60)
    backlog.add(RESYNC, 5)
    assert backlog.due == 5
    batch = backlog.take(5)
    assert batch.everything
    assert batch.since == 5
    assert backlog.due == 65
    batch = backlog.take(65)
    assert batch.everything
    assert batch.since is None


def test_events_about_one_thing_within_a_moment_are_one_look():
    backlog = Backlog(60)
    for now in (10.0, 10.01, 10.02):
        backlog.add(changed("a"), now)
        backlog.add(created(1), now)
    backlog.add(changed("b"), 10.05)
    assert backlog.due == 10 + GATHER
    batch = backlog.take(10 + GATHER)
    assert [look.what for look in batch.images] == ["a", "b"]
    assert [look.what for look in batch.contents] == [digest(1)]
    assert batch.since == 10
    assert not batch.everything
    assert backlog.due == math.inf


def test_a_complete_reading_answers_events_about_images_but_not_labels_that_come_late():
    backlog = Backlog(60)
    backlog.add(changed("a"), 0)
    backlog.add(created(1), 0)
    backlog.add(RESYNC, 0.01)
    batch = backlog.take(0.01)
    assert (batch.everything, batch.images, batch.since) == (True, (), 0)
    assert [look.what for look in batch.contents] == [digest(1)]


def test_many_images_at_once_are_read_all_together():
    backlog = Backlog(60)
    for number in range(MAX_IMAGES + 1):
        backlog.add(changed(str(number)), 0)
    batch = backlog.take(1)
    assert batch.everything
    assert batch.images == ()


def test_much_content_at_once_is_done_in_portions():
    backlog = Backlog(60)
    for number in range(MAX_CONTENTS + 3):
        backlog.add(created(number), 0)
    assert len(backlog.take(1).contents) == MAX_CONTENTS
    assert backlog.due <= 1
    assert len(backlog.take(1).contents) == 3


def test_too_many_events_become_one_complete_reading():
    backlog = Backlog(60)
    for number in range(10 * MAX_PENDING):
        backlog.add(created(number), 0)
    assert len(backlog._looks) <= MAX_PENDING
    assert backlog.due == 0
    batch = backlog.take(0)
    assert batch.everything
    assert batch.since == 0


def test_after_a_deletion_everything_is_read_soon_and_once_more_when_garbage_was_collected():
    backlog = Backlog(1000)
    backlog.add(deleted("a"), 0)
    backlog.add(deleted("b"), 1)
    assert [look.what for look in backlog.take(1.5).images] == ["a", "b"]
    assert backlog.due == AFTER_DELETION
    assert backlog.take(AFTER_DELETION).everything
    assert backlog.due == 1 + LONG_AFTER_DELETION
    assert backlog.take(1 + LONG_AFTER_DELETION).everything


def test_a_look_is_repeated_with_growing_delays_and_then_given_up():
    backlog = Backlog(60)
    backlog.add(created(1), 0)
    now = backlog.due
    for delay in RETRY_DELAYS:
        (look,) = backlog.take(now).contents
        assert look.since == 0
        assert backlog.retry(look, now)
        assert math.isclose(backlog.due, now + delay)
        now = backlog.due
    (look,) = backlog.take(now).contents
    assert not backlog.retry(look, now)


def test_a_new_event_brings_a_waiting_look_forward():
    backlog = Backlog(60)
    backlog.add(created(1), 0)
    (look,) = backlog.take(1).contents
    for _ in RETRY_DELAYS[:-1]:
        backlog.retry(look, 1)
        (look,) = backlog.take(10).contents
    backlog.retry(look, 20)
    assert backlog.due == 20 + RETRY_DELAYS[-1]
    backlog.add(Event(EventKind.CONTENT_DELETED, digest=digest(1)), 20)
    assert backlog.due == 20 + GATHER


def test_a_failed_reading_is_repeated_with_growing_delays():
    backlog = Backlog(1000)
    backlog.add(RESYNC, 0)
    now = 0.0
    for delay in (*READING_RETRY_DELAYS, READING_RETRY_DELAYS[-1]):
        batch = backlog.take(now)
        assert batch.everything
        assert batch.since == 0
        backlog.read_everything(now, batch.since)
        assert math.isclose(backlog.due, now + delay)
        now = backlog.due
    backlog.take(now)
    backlog.succeeded()
    backlog.read_everything(now, None)
    assert math.isclose(backlog.due, now + READING_RETRY_DELAYS[0])


EVENTS = st.one_of(
    st.just(RESYNC),
    st.builds(changed, st.sampled_from("abc")),
    st.builds(deleted, st.sampled_from("abc")),
    st.builds(created, st.integers(0, 3)),
)


@given(st.lists(st.tuples(EVENTS, st.floats(0, 0.3))))
def test_every_event_is_answered_by_a_look_that_starts_after_it(steps):
    backlog = Backlog(60)
    now = 0.0
    open_: dict[str, float] = {}
    for event, pause in steps:
        backlog.add(event, now)
        open_[event.name or event.digest or "everything"] = now
        now += pause
        if backlog.due <= now:
            answer(backlog, open_, now)
    while open_ and backlog.due < now + 59:
        now = max(now, backlog.due)
        answer(backlog, open_, now)
    assert not open_


def answer(backlog: Backlog, open_: dict[str, float], now: float) -> None:
    batch = backlog.take(now)
    for what in [look.what for look in (*batch.images, *batch.contents)]:
        open_.pop(what, None)
    if batch.everything:
        for what in [what for what in open_ if not what.startswith("sha256:")]:
            del open_[what]
    assert backlog.due > now or batch.contents
