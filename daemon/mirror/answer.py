"""What a peer answers: bytes in, a checked offer out.

A peer is a stranger. What it says of itself, its length, its digest and its range must agree with what was
asked; an answer that does not is no answer, however it is framed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httptools

from daemon.mirror.fault import Fault, PeerError
from daemon.oci.descriptor import BINARY, MANIFEST_MEDIA_TYPES
from daemon.oci.digest import Digest, InvalidDigestError, parse_digest

if TYPE_CHECKING:
    from daemon.mirror.wanted import Wanted

HEAD_LIMIT = 16 * 1024
"""Bytes of a response head."""
MANIFEST_LIMIT = 4 * 1024 * 1024
"""Bytes of a manifest: what the distribution specification tells registries to take at least."""

_HEARD = frozenset(
    {
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"docker-content-digest",
        b"transfer-encoding",
    }
)
_LENGTH = re.compile(r"[0-9]{1,18}")
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")


@dataclass(frozen=True, slots=True)
class Head:
    """A response head, well-formed and nothing more."""

    status: int
    fields: dict[str, str]
    """The fields that matter here, by lower-case name."""
    reusable: bool
    """Whether another request may follow on the connection."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a peer has, after its head agreed with the request."""

    digest: Digest
    media_type: str
    size: int
    """Of the whole content, in bytes."""
    first: int
    """Where in the content the body starts."""
    length: int
    """Of the body, in bytes; for HEAD, of the body that a GET would have."""
    reusable: bool


class HeadReader:
    """Collects the bytes of one response head."""

    def __init__(self) -> None:
        self.rest = b""
        """What came behind the head."""
        self._data = bytearray()
        self._fields: dict[str, str] = {}

    def feed(self, data: bytes) -> Head | None:
        """Take bytes; return the head once it is complete.

        Raises:
            PeerError: it is too long or no head of HTTP/1.
        """
        searched = max(len(self._data) - 3, 0)
        self._data += data
        end = self._data.find(b"\r\n\r\n", searched)
        if end < 0 and len(self._data) < HEAD_LIMIT:
            return None
        end += 4
        if not 4 <= end <= HEAD_LIMIT:
            raise PeerError(Fault.LIED, f"the response head is longer than {HEAD_LIMIT} bytes")
        self.rest = bytes(self._data[end:])
        return self._parse(bytes(self._data[:end]))

    def _parse(self, data: bytes) -> Head:
        parser = httptools.HttpResponseParser(self)
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise PeerError(Fault.LIED, f"no HTTP response head: {error}") from error
        if parser.get_http_version() not in {"1.0", "1.1"}:
            raise PeerError(Fault.LIED, "the response is not HTTP/1")
        return Head(parser.get_status_code(), self._fields, parser.should_keep_alive())

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep one header field; called by the parser."""
        if (name := name.lower()) not in _HEARD:
            return
        if (key := name.decode()) in self._fields:
            raise PeerError(Fault.LIED, f"the response has {key} twice")
        self._fields[key] = value.decode("latin-1")


def agree(wanted: Wanted, head: Head, size: int | None = None) -> Offer:
    """Check a head against the request.

    Args:
        wanted: what was asked for.
        head: what came back.
        size: the size of the whole content, where another peer has told it already.

    Raises:
        PeerError: the peer has it not, refuses, or contradicts the request.
    """
    _check_status(wanted, head)
    for field in ("transfer-encoding", "content-encoding"):
        if field in head.fields:
            raise PeerError(Fault.LIED, f"the response has a {field}")
    length = _length(head)
    first, total = _range(wanted, head, length)
    if size is not None and total != size:
        raise PeerError(Fault.REFUSED, f"the content has {total} bytes here and {size} elsewhere")
    return Offer(_digest(wanted, head), _media_type(wanted, head, total), total, first, length, head.reusable)


def _check_status(wanted: Wanted, head: Head) -> None:
    expected = 200 if wanted.range is None else 206
    if head.status == expected:
        return
    if head.status in {404, 416}:
        raise PeerError(Fault.MISSING, f"answered {head.status}")
    fault = Fault.LIED if head.status < 300 else Fault.REFUSED
    raise PeerError(fault, f"answered {head.status} where {expected} was to be expected")


def _length(head: Head) -> int:
    text = head.fields.get("content-length", "")
    if not _LENGTH.fullmatch(text):
        raise PeerError(Fault.LIED, "the response has no valid content-length")
    return int(text)


def _range(wanted: Wanted, head: Head, length: int) -> tuple[int, int]:
    """Return where the body starts and how large the whole content is."""
    text = head.fields.get("content-range")
    if wanted.range is None:
        if text is not None:
            raise PeerError(Fault.LIED, "the response has a content-range that nobody asked for")
        return 0, length
    match = _CONTENT_RANGE.fullmatch(text or "")
    if match is None:
        raise PeerError(Fault.LIED, "the response has no valid content-range")
    first, last, total = map(int, match.groups())
    wanted_first, wanted_last = wanted.range
    end = total if wanted_last is None else min(wanted_last + 1, total)
    if (first, last + 1) != (wanted_first, end) or length != end - first or length < 1:
        raise PeerError(Fault.LIED, "the response's content-range is not what was asked for")
    return first, total


def _digest(wanted: Wanted, head: Head) -> Digest:
    """Return the digest; like upstream, take the one asked for when the peer does not repeat it."""
    text = head.fields.get("docker-content-digest")
    if text is None and wanted.digest is not None:
        return wanted.digest
    try:
        digest = parse_digest(text or "")
    except InvalidDigestError as error:
        raise PeerError(Fault.LIED, f"the response's docker-content-digest: {error}") from error
    if wanted.digest is not None and digest != wanted.digest:
        raise PeerError(Fault.LIED, "the response has the digest of other content")
    return digest


def _media_type(wanted: Wanted, head: Head, size: int) -> str:
    text = head.fields.get("content-type", BINARY).partition(";")[0].strip().lower()
    if not _MEDIA_TYPE.fullmatch(text):
        raise PeerError(Fault.LIED, "the response's content-type is no media type")
    if wanted.kind == "blob":
        return text
    if text not in MANIFEST_MEDIA_TYPES:
        raise PeerError(Fault.LIED, f"{text} is no manifest's media type")
    if not 0 < size <= MANIFEST_LIMIT:
        raise PeerError(Fault.LIED, f"a manifest of {size} bytes")
    return text
