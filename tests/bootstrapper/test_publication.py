"""What one process has read, for all."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.synchronize import Event
from pathlib import Path

from bootstrapper.answers import Selection, entry
from bootstrapper.publication import Publication

ONE = Selection((entry(["10.0.0.1"]),), '{"10.0.0.1":"z"}', {"ready": 1})
TWO = Selection((entry(["10.0.0.2"]),), "{}", {"ready": 2})
PATIENCE = 30


def test_another_reads_what_one_has_written(tmp_path: Path) -> None:
    writer, reader = Publication(tmp_path), Publication(tmp_path)
    assert reader.answers() is None
    writer.write(ONE)
    first = reader.answers()
    assert first
    assert first.nodes(1).body == f"[{ONE.entries[0]}]".encode()
    assert first.topology.body == ONE.topology.encode()
    assert first.counts == ONE.counts
    assert reader.answers() is first, "it is read once"
    writer.write(TWO)
    second = reader.answers()
    assert second
    assert second.counts == TWO.counts


def test_the_same_again_is_not_written(tmp_path: Path) -> None:
    publication = Publication(tmp_path)
    publication.write(ONE)
    before = publication.answers()
    publication.write(Selection(ONE.entries, ONE.topology, dict(ONE.counts)))
    assert publication.answers() is before


def test_the_age_is_since_something_was_heard(tmp_path: Path) -> None:
    publication = Publication(tmp_path)
    assert publication.age() is None
    publication.heard()
    os.utime(tmp_path / "heard", (1e9, 1e9))
    assert (publication.age() or 0) > 1e8
    publication.heard()
    assert (publication.age() or 1e9) < PATIENCE


def _have_a_turn(directory: Path, has_it: Event) -> None:
    with Publication(directory).turn():
        has_it.set()
        signal.pause()


def test_turns_are_taken_one_after_the_other_also_when_a_process_is_killed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    first, second = context.Event(), context.Event()
    one = context.Process(target=_have_a_turn, args=(tmp_path, first))
    other = context.Process(target=_have_a_turn, args=(tmp_path, second))
    try:
        one.start()
        assert first.wait(PATIENCE)
        other.start()
        assert not second.wait(0.5)
        one.kill()
        assert second.wait(PATIENCE)
    finally:
        for process in (one, other):
            process.kill()
            process.join(PATIENCE)
