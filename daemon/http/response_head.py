"""Response heads (RFC 9112) of whatever this node asks, read strictly: bytes go in, a head comes out."""

from __future__ import annotations

from dataclasses import dataclass

import httptools

HEAD_LIMIT = 16 * 1024
"""Bytes of a response head."""

# Said twice, one of these is read in one way here and in another way elsewhere.
_ONCE = frozenset(
    {
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "docker-content-digest",
        "transfer-encoding",
    }
)


class BadResponseError(Exception):
    """What came is no head of HTTP/1 that can be trusted; the message says why."""


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """A response head, well-formed and nothing more."""

    status: int
    fields: dict[str, str]
    """By lower-case name; those of a repeated name are joined by a comma."""
    reusable: bool
    """Whether another request may follow on the connection."""


class ResponseHeadReader:
    """Collects the bytes of one response head."""

    def __init__(self) -> None:
        self.rest = b""
        """What came behind the head."""
        self._data = bytearray()
        self._fields: dict[str, str] = {}
        self._repeated: str | None = None

    def feed(self, data: bytes) -> ResponseHead | None:
        """Take bytes; return the head once it is complete.

        Raises:
            BadResponseError: it is too long or no head of HTTP/1.
        """
        searched = max(len(self._data) - 3, 0)
        self._data += data
        end = self._data.find(b"\r\n\r\n", searched)
        if end < 0 and len(self._data) < HEAD_LIMIT:
            return None
        end += 4
        if not 4 <= end <= HEAD_LIMIT:
            raise BadResponseError(f"the response head is longer than {HEAD_LIMIT} bytes")
        self.rest = bytes(self._data[end:])
        return self._parse(bytes(self._data[:end]))

    def _parse(self, data: bytes) -> ResponseHead:
        parser = httptools.HttpResponseParser(self)
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise BadResponseError(f"no HTTP response head: {error}") from error
        if parser.get_http_version() not in {"1.0", "1.1"}:
            raise BadResponseError("the response is not HTTP/1")
        if self._repeated is not None:
            raise BadResponseError(f"the response has {self._repeated} twice")
        return ResponseHead(parser.get_status_code(), self._fields, parser.should_keep_alive())

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep one header field; called by the parser."""
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        if key not in self._fields:
            self._fields[key] = text
        else:
            self._fields[key] += ", " + text
            if key in _ONCE:
                self._repeated = key
