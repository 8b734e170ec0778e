"""Request heads: what is let in, and everything that is not."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.http.head import (
    FIELD_LIMIT,
    HEAD_LIMIT,
    REQUEST_LINE_LIMIT,
    BadRequestError,
    Head,
    HeadBuffer,
    parse_head,
)

CLIENT = "10.0.0.7"
CONTAINERD = (
    b"HEAD /v2/library/alpine/manifests/3.20?ns=localhost%3A5000 HTTP/1.1\r\n"
    b"Host: 127.0.0.1:5000\r\n"
    b"User-Agent: containerd/1.6.20\r\n"
    b"Accept: application/vnd.docker.distribution.manifest.v2+json, */*\r\n"
    b"\r\n"
)


def parse(head: bytes) -> Head:
    buffer = HeadBuffer()
    buffer.feed(head)
    taken = buffer.take()
    assert taken == head
    return parse_head(taken, CLIENT)


def status_of(data: bytes) -> int:
    with pytest.raises(BadRequestError) as caught:
        parse(data)
    return caught.value.status


def get(line: bytes = b"GET / HTTP/1.1", *fields: bytes, host: bytes | None = b"Host: spegel") -> bytes:
    return b"\r\n".join([line, *([host] if host is not None else []), *fields, b"", b""])


def test_what_containerd_sends() -> None:
    head = parse(CONTAINERD)
    assert head.keep_alive
    assert head.request.method == "HEAD"
    assert head.request.path == "/v2/library/alpine/manifests/3.20"
    assert head.request.query == {"ns": "localhost:5000"}
    assert head.request.headers["user-agent"] == "containerd/1.6.20"
    assert head.request.headers["accept"].endswith("v2+json, */*")
    assert head.request.client == CLIENT


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", "/", {}),
        (b"/v2/", "/v2/", {}),
        (b"/a%20b", "/a b", {}),
        (b"/%C3%A4", "/ä", {}),
        (b"/%2525", "/%25", {}),  # decoded once, not twice
        (b"/a%2Fb", "/a/b", {}),
        (b"/a+b", "/a+b", {}),  # a plus is a space in queries only
        (b"/..a/b.", "/..a/b.", {}),
        (b"/?ns=docker.io", "/", {"ns": "docker.io"}),
        (b"/?ns=a&ns=b", "/", {"ns": "a"}),  # the first counts
        (b"/?ns=%5B::1%5D%3A5000", "/", {"ns": "[::1]:5000"}),
        (b"/?ns=[::1]:5000", "/", {"ns": "[::1]:5000"}),  # as upstream writes it
        (b"/?a=1+2&b&c=&=d", "/", {"a": "1 2", "b": "", "c": ""}),
        (b"/??", "/", {"?": ""}),
        (b"/?", "/", {}),
        (b"http://spegel:5000/v2/?ns=a", "/v2/", {"ns": "a"}),
        (b"HTTP://[::1]:5000", "/", {}),
        (b"http://spegel?ns=a", "/", {"ns": "a"}),
    ],
)
def test_targets(target: bytes, path: str, query: dict[str, str]) -> None:
    request = parse(get(b"GET " + target + b" HTTP/1.1")).request
    assert (request.path, request.query) == (path, query)


@pytest.mark.parametrize(
    "target",
    [
        b"*",
        b"spegel:5000",
        b"v2/",
        b"?ns=a",
        b"https://spegel/",
        b"ftp://spegel/",
        b"http:///",
        b"http:///v2/",
        b"http://user@spegel/",
        b"http://a:b:c/",
        b"/#fragment",
        b"/%",
        b"/%4",
        b"/%zz",
        b"/?ns=%4",
        b"/%00",
        b"/%0d%0a",
        b"/%7f",
        b"/?ns=%00",
        b"/?ns%0a=",
        b"/?ns=a%0d%0aX-Spegel-Mirrored:%20true",
        b"/%ff",
        b"/%c0%ae%c0%ae/",  # an overlong encoding of two dots
        b"/%ed%a0%80",  # a surrogate
        b"/%e2%80%a8",  # a line separator
        b"/v2/../etc/passwd",
        b"/v2/./x",
        b"/..",
        b"/.",
        b"/v2/%2e%2e/x",
        b"/v2/.%2E/x",
        b"/v2%2f..%2fx",
        b"/a\\b",
        b"/a^b",
        b'/"',
        b"/<x>",
        b"/[x]",
        b"/{x}",
        "/ä".encode(),
    ],
)
def test_targets_that_are_refused(target: bytes) -> None:
    assert status_of(get(b"GET " + target + b" HTTP/1.1")) == 400


@pytest.mark.parametrize(
    ("data", "status"),
    [
        # request lines
        (get(b"GET  / HTTP/1.1"), 400),
        (get(b"GET /  HTTP/1.1"), 400),
        (get(b" GET / HTTP/1.1"), 400),
        (get(b"GET / HTTP/1.1 "), 400),
        (get(b"GET\t/ HTTP/1.1"), 400),
        (get(b"GET /\x0bHTTP/1.1"), 400),
        (get(b"GET / HTTP/1.1\x00"), 400),
        (get(b"GET / http/1.1"), 400),
        (get(b"GET / HTTP/1"), 400),
        (get(b"GET / HTTP/1.1.1"), 400),
        (get(b"GET / HTTP/11.1"), 400),
        (get(b"GET / HTTP/1.x"), 400),
        (get(b"GET / XTTP/1.1"), 400),
        (get(b"GET /"), 400),
        (get(b"GET"), 400),
        (get(b""), 400),
        (b"\r\n\r\n", 400),
        (b"\r\n" + get(), 400),
        (get(b"G@T / HTTP/1.1"), 400),
        (get("GÄT / HTTP/1.1".encode()), 400),
        (get(b"GET / HTTP/2.0"), 505),
        (get(b"GET / HTTP/0.9"), 505),
        (b"PRI * HTTP/2.0\r\n\r\n", 505),
        # methods
        (get(b"POST / HTTP/1.1"), 405),
        (get(b"PUT / HTTP/1.1"), 405),
        (get(b"DELETE / HTTP/1.1"), 405),
        (get(b"OPTIONS * HTTP/1.1"), 405),
        (get(b"CONNECT spegel:5000 HTTP/1.1"), 405),
        (get(b"get / HTTP/1.1"), 405),
        # Host
        (get(host=None), 400),
        (get(host=b"Host: a\r\nHost: a"), 400),
        (get(host=b"Host: a, b"), 400),
        (get(host=b"Host: a b"), 400),
        (get(host=b"Host: a/b"), 400),
        (get(host=b"Host: user@a"), 400),
        (get(host=b"Host: [::1"), 400),
        (get(b"GET / HTTP/1.0", host=b"Host: a\r\nHost: b"), 400),
        # bodies, and lengths that two programs may read in two ways
        (get(b"GET / HTTP/1.1", b"Content-Length: 1"), 413),
        (get(b"GET / HTTP/1.1", b"Content-Length: 00001"), 413),
        (get(b"POST / HTTP/1.1", b"Content-Length: 5"), 413),
        (get(b"GET / HTTP/1.1", b"Content-Length: 99999999999999999999999999"), 413),
        (get(b"GET / HTTP/1.1", b"Content-Length: +0"), 400),
        (get(b"GET / HTTP/1.1", b"Content-Length: -1"), 400),
        (get(b"GET / HTTP/1.1", b"Content-Length: 0x0"), 400),
        (get(b"GET / HTTP/1.1", b"Content-Length: 0 0"), 400),
        (get(b"GET / HTTP/1.1", b"Content-Length: 0, 0"), 400),
        (get(b"GET / HTTP/1.1", b"Content-Length: "), 400),
        (get(b"GET / HTTP/1.1", b"Content-Length: \xb2"), 400),
        (get(b"GET / HTTP/1.1", b"Content-Length: 0", b"Content-Length: 0"), 400),
        (get(b"GET / HTTP/1.1", b"Content-Length: 0", b"content-length: 5"), 400),
        (get(b"GET / HTTP/1.1", b"Transfer-Encoding: chunked"), 400),
        (get(b"GET / HTTP/1.1", b"transfer-encoding: identity"), 400),
        (get(b"GET / HTTP/1.1", b"Transfer-Encoding:"), 400),
        (get(b"GET / HTTP/1.0", b"Transfer-Encoding: chunked"), 400),
        (get(b"GET / HTTP/1.1", b"Content-Length: 5", b"Transfer-Encoding: chunked"), 400),
        (get(b"GET / HTTP/1.1", b"Transfer-Encoding: xchunked", b"Transfer-Encoding: chunked"), 400),
        # fields
        (get(b"GET / HTTP/1.1", b"Transfer-Encoding : chunked"), 400),
        (get(b"GET / HTTP/1.1", b"Content-Length\t: 5"), 400),
        (get(b"GET / HTTP/1.1", b" folded"), 400),
        (get(b"GET / HTTP/1.1", b"A: b", b" folded"), 400),
        (get(b"GET / HTTP/1.1", b"A: b", b"\tfolded"), 400),
        (get(b"GET / HTTP/1.1\r\n Host: b"), 400),
        (get(b"GET / HTTP/1.1", b"no colon"), 400),
        (get(b"GET / HTTP/1.1", b": nameless"), 400),
        (get(b"GET / HTTP/1.1", b"A B: c"), 400),
        (get(b"GET / HTTP/1.1", b"A\x00: b"), 400),
        (get(b"GET / HTTP/1.1", b"A: b\x00c"), 400),
        (get(b"GET / HTTP/1.1", b"A: b\x7fc"), 400),
        (get(b"GET / HTTP/1.1", b"A: b\x0bc"), 400),
        (get(b"GET / HTTP/1.1", "Ä: b".encode()), 400),
        (get(b"GET / HTTP/1.1", b"Range: bytes=0-1", b"Range: bytes=2-3"), 400),
        (get(b"GET / HTTP/1.1", b"Authorization: a", b"AUTHORIZATION: b"), 400),
        (get(b"GET / HTTP/1.1", b"X-Spegel-Mirrored: true", b"X-Spegel-Mirrored: false"), 400),
        (get(b"GET / HTTP/1.1", *[b"A: b"] * FIELD_LIMIT), 431),
    ],
)
def test_heads_that_are_refused(data: bytes, status: int) -> None:
    assert status_of(data) == status


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
        b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\rGET / HTTP/1.1\r\n\r\n",
        b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_lines_end_in_cr_lf_and_nothing_else(data: bytes) -> None:
    buffer = HeadBuffer()
    buffer.feed(data)
    with pytest.raises(BadRequestError, match="CR LF"):
        buffer.take()


@pytest.mark.parametrize(
    ("data", "keep_alive"),
    [
        (get(), True),
        (get(b"GET / HTTP/1.1", b"Connection: keep-alive"), True),
        (get(b"GET / HTTP/1.1", b"Connection: close"), False),
        (get(b"GET / HTTP/1.1", b"connection: Foo ,\tCLOSE"), False),
        (get(b"GET / HTTP/1.1", b"Connection: keep-alive", b"Connection: close"), False),
        (get(b"GET / HTTP/1.0"), False),
        (get(b"GET / HTTP/1.0", b"Connection: keep-alive"), False),
        (get(b"GET / HTTP/1.0", host=None), False),
    ],
)
def test_whether_the_connection_goes_on(data: bytes, keep_alive: bool) -> None:
    assert parse(data).keep_alive is keep_alive


@pytest.mark.parametrize(
    "field", [b"Host: ", b"Host:", b"Host: a", b"Host: a:", b"Host: [::1]:5000", b"Host:\ta\t "]
)
def test_hosts_that_are_accepted(field: bytes) -> None:
    parse(get(host=field))


def test_repeated_lists_are_joined_and_values_are_trimmed() -> None:
    request = parse(
        get(b"GET / HTTP/1.1", b"Accept:a", b"ACCEPT: \t b,c \t", b"Empty:", b"Latin: \xe4")
    ).request
    assert request.headers == {"host": "spegel", "accept": "a, b,c", "empty": "", "latin": "ä"}


def test_a_content_length_of_nothing_is_no_body() -> None:
    parse(get(b"GET / HTTP/1.1", b"Content-Length: 0"))


def outcome(chunks: list[bytes]) -> list[Head | int]:
    """Feed chunk by chunk; return the requests and, if it came to that, the status that ends it."""
    buffer = HeadBuffer()
    found: list[Head | int] = []
    try:
        for chunk in chunks:
            buffer.feed(chunk)
            while (data := buffer.take()) is not None:
                found.append(parse_head(data, CLIENT))
    except BadRequestError as error:
        found.append(error.status)
    return found


LONG = get(b"GET / HTTP/1.1", b"A: " + b"a" * HEAD_LIMIT)
STREAMS = [
    CONTAINERD * 3,
    CONTAINERD + get(b"POST / HTTP/1.1") + CONTAINERD,
    CONTAINERD + b"GET / HTTP/1.1\nHost: a\n\n",
    CONTAINERD + b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
    get(b"GET / HTTP/1.1", b"A: b\rc") + CONTAINERD,
]


@pytest.mark.parametrize("stream", STREAMS)
def test_the_outcome_is_the_same_byte_by_byte(stream: bytes) -> None:
    assert outcome([bytes([byte]) for byte in stream]) == outcome([stream])


@given(
    st.lists(
        st.sampled_from(
            [b"\r\n", b"\r", b"\n", b"\r\n\r\n", CONTAINERD, get(), b"GET / HTTP/1.1\r\n", b"Host: a", b"x"]
        )
        | st.binary(max_size=20),
        max_size=30,
    ).map(b"".join),
    st.lists(st.integers(0, 2000), max_size=12),
)
def test_the_outcome_is_the_same_however_it_is_split(stream: bytes, cuts: list[int]) -> None:
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    chunks = [stream[start:end] for start, end in itertools.pairwise(edges)]
    assert outcome(chunks) == outcome([stream])


@pytest.mark.parametrize(
    ("stream", "status"),
    [
        (b"GET /" + b"a" * REQUEST_LINE_LIMIT, 414),
        (b"GET /" + b"a" * REQUEST_LINE_LIMIT + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"a" * (REQUEST_LINE_LIMIT - 1) + b"\r\nA: b\r\n\r\n", 414),
        (b"a" * (REQUEST_LINE_LIMIT - 2) + b"\r\nA: b\r\n\r\n", 400),
        (b"a" * REQUEST_LINE_LIMIT + b"\n" * 5, 414),
        (LONG, 431),
        (LONG[:HEAD_LIMIT], 431),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * HEAD_LIMIT, 431),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * (HEAD_LIMIT - 20) + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * (HEAD_LIMIT - 20) + b"\rx", 431),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * (HEAD_LIMIT - 23) + b"\r\n\r\n", 400),  # just fits; has no Host
    ],
)
@pytest.mark.parametrize("chunk", [1, 2, 3, 1000, 8191, 8192, 8193, 100_000])
def test_heads_are_bounded_however_they_are_split(stream: bytes, status: int, chunk: int) -> None:
    assert outcome([stream[i : i + chunk] for i in range(0, len(stream), chunk)]) == [status]


def test_what_follows_a_head_stays() -> None:
    buffer = HeadBuffer()
    buffer.feed(CONTAINERD + b"GET")
    assert buffer.take() == CONTAINERD
    assert buffer.take() is None
    assert len(buffer) == 3
