"""How much of a request has arrived, told from bytes in any pieces."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.arrival import Arrival

HEAD = b"POST /webhooks/registry-spegel HTTP/1.1\r\nHost: webhook\r\n"
LIMIT = 1 << 16


def first_complete(data: bytes, cuts: list[int]) -> int | None:
    """Feed the data in pieces; after how many bytes was it called complete?"""
    arrival = Arrival(LIMIT)
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, end in itertools.pairwise(bounds):
        if arrival.feed(data[start:end]):
            assert arrival.data == data[:end]
            return end
    return None


pieces = st.lists(st.integers(1, 400), max_size=8)


@given(st.binary(max_size=300), pieces)
def test_a_body_of_known_length_is_complete_at_its_last_byte(body: bytes, cuts: list[int]) -> None:
    data = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    assert first_complete(data, cuts) == len(data)
    assert first_complete(data[:-1], cuts) is None


@pytest.mark.parametrize("spelled", [b"content-length:3", b"CONTENT-LENGTH:\t 3 "])
def test_the_length_may_be_spelled_in_many_ways(spelled: bytes) -> None:
    data = HEAD + spelled + b"\r\n\r\n" + b"abc"
    assert first_complete(data, [len(data) - 1]) == len(data)


def test_every_single_byte_may_come_alone() -> None:
    data = HEAD + b"Content-Length: 3\r\n\r\nabc"
    assert first_complete(data, list(range(len(data)))) == len(data)


def test_without_a_body_the_head_is_all() -> None:
    data = b"GET /healthz HTTP/1.1\r\n\r\n"
    assert first_complete(data, list(range(len(data)))) == len(data)


@given(pieces)
def test_a_chunked_body_is_complete_with_its_last_chunk(cuts: list[int]) -> None:
    data = HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    assert first_complete(data, cuts) == len(data)
    trailers = data.removesuffix(b"\r\n") + b"Checksum: 1\r\n\r\n"
    assert first_complete(trailers, cuts) == len(trailers)


def test_a_body_beyond_the_limit_is_not_waited_for() -> None:
    head = HEAD + b"Content-Length: %d\r\n\r\n" % (LIMIT + 1)
    assert first_complete(head, []) == len(head)
    arrival = Arrival(LIMIT)
    assert not arrival.feed(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    assert not arrival.feed(b"x" * LIMIT)
    assert arrival.feed(b"x")


def test_a_client_that_waits_to_be_asked_for_the_body_is_not_waited_for() -> None:
    head = HEAD + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    assert first_complete(head, []) == len(head)


def test_a_head_without_end_is_handed_on_for_the_parser_to_refuse() -> None:
    arrival = Arrival(LIMIT)
    fed = 0
    while not arrival.feed(b"X-Header: " + b"a" * 1000 + b"\r\n"):
        fed += 1
        assert fed < 1000
    assert fed > 100
