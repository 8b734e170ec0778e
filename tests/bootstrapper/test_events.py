"""A watch's stream, cut into events."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrapper.events import MAX_EVENT_BYTES, Event, Events, StreamError

THINGS = [
    {"metadata": {"name": "a", "resourceVersion": "1"}, "text": "ü\n"},
    {"metadata": {"resourceVersion": "2"}},
    {},
]
KINDS = ["ADDED", "BOOKMARK", "ERROR"]
STREAM = b"".join(
    json.dumps({"type": kind, "object": thing}, ensure_ascii=False).encode() + b"\n"
    for kind, thing in zip(KINDS, THINGS, strict=True)
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_it_does_not_matter_how_the_stream_is_cut(cuts: list[int]) -> None:
    events = Events()
    pieces = [STREAM[start:end] for start, end in itertools.pairwise([0, *sorted(cuts), len(STREAM)])]
    found = [event for piece in pieces for event in events.feed(piece)]
    assert found == [Event(kind, thing) for kind, thing in zip(KINDS, THINGS, strict=True)]
    assert [event.version for event in found] == ["1", "2", ""]


def test_half_an_event_is_none() -> None:
    assert list(Events().feed(STREAM[:-1])) == list(Events().feed(STREAM))[:-1]


@pytest.mark.parametrize(
    "line",
    [b"nonsense\n", b"[]\n", b'{"type": "ADDED"}\n', b'{"type": 1, "object": {}}\n', b"\xff\n", b"[" * 99999],
)
def test_what_is_no_event(line: bytes) -> None:
    with pytest.raises(StreamError):
        list(Events().feed(line + b"\n"))


def test_an_event_is_bounded() -> None:
    events = Events()
    assert list(events.feed(b"x" * MAX_EVENT_BYTES)) == []
    with pytest.raises(StreamError, match="longer than"):
        list(events.feed(b"x"))
