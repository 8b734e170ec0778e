"""What a response head may be, and what the daemon's own requests make of one that it may not be."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.http.client import ClientError, get
from daemon.http.response_head import HEAD_LIMIT, BadResponseError, ResponseHead, ResponseHeadReader


def parse(text: str) -> ResponseHead:
    head = ResponseHeadReader().feed(text.replace("\n", "\r\n").encode("latin-1"))
    assert head is not None
    return head


TEXT = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-Other: y\r\n\r\nabc"


@pytest.mark.parametrize("cut", range(1, len(TEXT)))
def test_a_head_may_come_in_any_pieces(cut: int) -> None:
    reader = ResponseHeadReader()
    first = reader.feed(TEXT[:cut])
    whole = first or reader.feed(TEXT[cut:])
    assert whole == ResponseHead(200, {"content-length": "3", "x-other": "y"}, reusable=True)
    assert reader.rest == (TEXT[TEXT.index(b"abc") : cut] if first else b"abc")


def test_a_head_may_come_byte_by_byte() -> None:
    reader = ResponseHeadReader()
    heads = [reader.feed(TEXT[at : at + 1]) for at in range(len(TEXT) - 3)]
    assert heads[:-1] == [None] * (len(heads) - 1)
    assert heads[-1] is not None


@pytest.mark.parametrize(
    "text",
    [
        "SSH-2.0-OpenSSH\n\n",
        "HTTP/2.0 200 OK\n\n",
        "HTTP/0.9 200 OK\n\n",
        "HTTP/1.1 2000 OK\n\n",
        "HTTP/1.1 OK\n\n",
        "HTTP/1.1 200 OK\nContent-Length : 3\n\n",
        "HTTP/1.1 200 OK\n Content-Length: 3\n\n",
        "HTTP/1.1 200 OK\nContent-Length: 3\nContent-Length: 3\n\n",
        "HTTP/1.1 200 OK\nContent-Length: 3\nContent-Length: 4\n\n",
        "HTTP/1.1 200 OK\nContent-Length: -3\n\n",
        "HTTP/1.1 200 OK\nContent-Length: 3, 3\n\n",
        "HTTP/1.1 200 OK\nContent-Length: 99999999999999999999\n\n",
        "HTTP/1.1 200 OK\nContent-Length: 3\nTransfer-Encoding: chunked\n\n",
        "HTTP/1.1 200 OK\nDocker-Content-Digest: a\nDocker-Content-Digest: b\n\n",
        "HTTP/1.1 200 OK\nContent-Range: a\nContent-Range: a\n\n",
        "HTTP/1.1 200 OK\nno field\n\n",
        "HTTP/1.1 200 OK\nX: a\0b\n\n",
        "HTTP/1.1 101 Switching\nUpgrade: h2c\nConnection: upgrade\n\n",
    ],
)
def test_a_head_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadResponseError):
        parse(text)


def test_a_head_with_bare_line_feeds_never_ends() -> None:
    assert ResponseHeadReader().feed(b"HTTP/1.1 200 OK\nContent-Length: 3\n\n") is None


def test_a_head_that_is_too_long_is_refused() -> None:
    giant = b"HTTP/1.1 200 OK\r\nX: " + b"a" * HEAD_LIMIT + b"\r\n\r\n"
    with pytest.raises(BadResponseError, match="longer than"):
        ResponseHeadReader().feed(giant)


def test_a_head_that_never_ends_is_refused_at_the_limit() -> None:
    reader = ResponseHeadReader()
    line = b"X: aaaaa\r\n"
    for _ in range(HEAD_LIMIT // len(line)):
        assert reader.feed(line) is None
    with pytest.raises(BadResponseError, match="longer than"):
        reader.feed(line)


@pytest.mark.parametrize(
    ("text", "reusable"),
    [
        ("HTTP/1.1 200 OK\nContent-Length: 3\n\n", True),
        ("HTTP/1.1 200 OK\nContent-Length: 3\nConnection: close\n\n", False),
        ("HTTP/1.0 200 OK\nContent-Length: 3\n\n", False),
    ],
)
def test_a_head_says_whether_the_connection_lives_on(text: str, *, reusable: bool) -> None:
    assert parse(text).reusable is reusable


@given(st.binary(max_size=300))
def test_a_head_made_of_rubbish_is_refused_or_unfinished(data: bytes) -> None:
    try:
        whole = ResponseHeadReader().feed(data)
    except BadResponseError:
        return
    assert whole is None or data.startswith(b"HTTP/1.")


def test_fields_that_may_be_repeated_are_joined() -> None:
    assert parse("HTTP/1.1 200 OK\nX: a\nx: b\n\n").fields == {"x": "a, b"}


def test_a_field_that_must_not_be_repeated_is_named() -> None:
    with pytest.raises(BadResponseError, match="docker-content-digest twice"):
        parse("HTTP/1.1 200 OK\nDocker-Content-Digest: a\nDocker-Content-Digest: a\n\n")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", "no HTTP response head"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "no HTTP response head"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * HEAD_LIMIT + b"\r\n\r\n", "longer than"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", "gives no answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", "ends early"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "does not say its length"),
    ],
)
async def test_a_request_of_our_own_says_what_is_wrong_with_its_answer(answer: bytes, message: str) -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ClientError, match=message):
            async with get("127.0.0.1", port, "/") as got:
                await got.read(100)
