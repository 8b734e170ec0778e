"""Request heads (RFC 9112), read strictly.

Where the RFC lets a recipient be lenient, this parser refuses: a head that two programs might read in two
ways never gets as far as a handler, so there is nothing to smuggle. Only what this daemon serves is let in:
GET and HEAD without a body. Bytes go in, requests come out; there is no I/O here.

The outcome does not depend on how the bytes were split on their way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import NoReturn
from urllib.parse import unquote

from daemon.http.message import Request

REQUEST_LINE_LIMIT = 8 * 1024
HEAD_LIMIT = 16 * 1024
FIELD_LIMIT = 64
METHODS = ("GET", "HEAD")

_CR = 0x0D

_NAME = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rf"({_NAME}) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])\r\n")
_FIELD = re.compile(rf"({_NAME}):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)\r\n")
_FIELDS = re.compile(rf"(?:{_NAME}:[^\x00-\x08\x0a-\x1f\x7f]*\r\n)*+\r\n")

_CHARS = r"A-Za-z0-9\-._~!$&'()*+,;=:@/%"
# Brackets belong into no query (RFC 3986), but upstream Spegel sends ns=[fd00::1]:5000 as it stands.
_TARGET = re.compile(
    rf"(?:[hH][tT][tT][pP]://(?P<authority>[^/?#]+))?(?P<path>/[{_CHARS}]*)?(?:\?(?P<query>[{_CHARS}?\[\]]*))?"
)
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST = re.compile(r"(?:[A-Za-z0-9\-._~]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")

# Said twice, one of these is read in one way here and in another way elsewhere.
_ONCE = frozenset(
    {
        "authorization",
        "content-length",
        "content-type",
        "expect",
        "host",
        "if-range",
        "range",
        "transfer-encoding",
        "user-agent",
        "x-spegel-mirrored",
    }
)


class BadRequestError(Exception):
    """The client's fault. What follows on its connection cannot be trusted, so the connection ends."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        """Make the error; the client is told both."""
        super().__init__(message)
        self.status = status
        self.message = message


class HeadBuffer:
    """What a client has sent and no request has used yet."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._checked = 0

    def __len__(self) -> int:
        return len(self._data)

    def feed(self, data: bytes | memoryview) -> None:
        """Add what was received."""
        self._data += data

    def take(self) -> bytes | None:
        """Return the next head with the empty line that ends it, None when more has to come.

        Raises:
            BadRequestError: the head grew too long, or a line ends otherwise than in CR LF. That is told as
                soon as it is seen: a client that ends lines in LF would wait for an answer for ever.
        """
        data = self._data
        if not data:
            return None
        if data.find(b"\r\n", 0, REQUEST_LINE_LIMIT) >= 0:
            limit, status = HEAD_LIMIT, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        else:
            limit, status = REQUEST_LINE_LIMIT, HTTPStatus.REQUEST_URI_TOO_LONG
        end = data.find(b"\r\n\r\n", max(self._checked - 3, 0), limit)
        stop = end + 4 if end >= 0 else min(len(data), limit)
        if end < 0 and stop > 0 and data[stop - 1] == _CR:
            stop -= 1  # its LF may be under way
        lines = data.count(b"\r\n", self._checked, stop)
        if not data.count(b"\r", self._checked, stop) == lines == data.count(b"\n", self._checked, stop):
            _refuse("every line has to end in CR LF")
        if end >= 0:
            head = bytes(data[:stop])
            del data[:stop]
            self._checked = 0
            return head
        if len(data) >= limit:
            raise BadRequestError(status, f"the request's head is longer than {limit} bytes allow")
        self._checked = stop
        return None


@dataclass(frozen=True, slots=True)
class Head:
    """A request, and whether the client wants to send another one on the same connection."""

    request: Request
    keep_alive: bool


def parse_head(head: bytes, client: str) -> Head:
    """Read a head that HeadBuffer found.

    Args:
        head: the request line, the fields and the empty line.
        client: the client's IP address, for the request.

    Raises:
        BadRequestError: the head is malformed (400), or asks for what is not served here (405, 413, 505).
    """
    text = head.decode("latin-1")
    line = _REQUEST_LINE.match(text)
    if line is None:
        _refuse("malformed request line")
    if not _FIELDS.fullmatch(text, line.end()):
        _refuse("malformed header field")
    method, target, major, minor = line.groups()
    fields = _fields(text, line.end())
    if major != "1":
        raise BadRequestError(
            HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, f"HTTP/{major}.{minor} is not spoken here, HTTP/1.1 is"
        )
    _check_host(fields.get("host"), required=minor != "0")
    _check_no_body(fields)
    if method not in METHODS:
        raise BadRequestError(HTTPStatus.METHOD_NOT_ALLOWED, f"only {' and '.join(METHODS)} are served")
    path, query = _target(target)
    request = Request(method, path, query, fields, client)
    # HTTP/1.0's own keep-alive is not worth its rules: such a connection serves one request.
    keep_alive = minor != "0" and ("connection" not in fields or _keep_alive(fields["connection"]))
    return Head(request, keep_alive)


def _fields(text: str, start: int) -> dict[str, str]:
    found = _FIELD.findall(text, start)
    if len(found) > FIELD_LIMIT:
        raise BadRequestError(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"more than {FIELD_LIMIT} header fields"
        )
    fields: dict[str, str] = {}
    for written, raw in found:
        name, value = written.lower(), raw.rstrip(" \t")
        if name not in fields:
            fields[name] = value
        elif name in _ONCE:
            _refuse(f"header field {name} is there twice")
        else:
            fields[name] += ", " + value
    return fields


def _check_host(host: str | None, *, required: bool) -> None:
    if host is None:
        if required:
            _refuse("HTTP/1.1 needs a Host header field")
    elif not _HOST.fullmatch(host):
        _refuse("malformed Host header field")


def _check_no_body(fields: dict[str, str]) -> None:
    if "transfer-encoding" in fields:
        _refuse("requests have no body here, so no Transfer-Encoding either")
    length = fields.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        _refuse("malformed Content-Length header field")
    if length.strip("0"):
        raise BadRequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "requests have no body here")


def _target(target: str) -> tuple[str, dict[str, str]]:
    """Read origin-form, ``/path?query``, or absolute-form, whose authority counts for nothing here."""
    parts = _TARGET.fullmatch(target)
    if parts is None or _BROKEN_ESCAPE.search(target):
        _refuse("malformed request target")
    authority, path, query = parts["authority"], parts["path"], parts["query"]
    if authority is not None:
        if not _HOST.fullmatch(authority):
            _refuse("malformed authority in the request target")
        path = path or "/"
    if not path:
        _refuse("the request target has to be a path")
    if "%" in path:
        path = _unquote(path)
    if "/." in path and not {".", ".."}.isdisjoint(path.split("/")):
        _refuse("the request target holds dot segments")
    return path, _query(query) if query else {}


def _query(text: str) -> dict[str, str]:
    query: dict[str, str] = {}
    for pair in text.split("&"):
        name, _, value = pair.partition("=")
        if name:
            query.setdefault(_unquote_plus(name), _unquote_plus(value))
    return query


def _unquote(text: str) -> str:
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        _refuse("the request target is not UTF-8")
    if not decoded.isprintable():
        _refuse("the request target holds control characters")
    return decoded


def _unquote_plus(text: str) -> str:
    return _unquote(text.replace("+", " ")) if "%" in text or "+" in text else text


def _keep_alive(connection: str) -> bool:
    return "close" not in {option.strip(" \t").lower() for option in connection.split(",")}


def _refuse(message: str) -> NoReturn:
    raise BadRequestError(HTTPStatus.BAD_REQUEST, message)
