"""Response heads, and the responses that errors become."""

from __future__ import annotations

import functools
import re
import time
from http import HTTPStatus

from daemon.http.message import Response
from daemon.oci.errors import MEDIA_TYPE, ErrorCode, OciError

_STATUS_LINES = {status: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_FORBIDDEN = re.compile(r"[^\t\x20-\x7e\x80-\xff]")


def encode_head(response: Response, length: int, *, keep_alive: bool) -> bytes:
    """Return the status line, all fields and the empty line.

    Raises:
        ValueError: a field holds what no field may hold, such as a line end out of an image's document.
    """
    fields = "".join([f"{name}: {value}\r\n" for name, value in response.headers])
    if _FORBIDDEN.search(fields.replace("\r\n", "")) or fields.count("\r\n") != len(response.headers):
        raise ValueError(f"response fields hold control characters: {response.headers!r}")
    connection = "" if keep_alive else "Connection: close\r\n"
    date = _date(int(time.time()))
    head = f"{_STATUS_LINES[response.status]}{fields}Content-Length: {length}\r\n{date}{connection}\r\n"
    return head.encode("latin-1")


@functools.lru_cache(maxsize=1)
def _date(seconds: int) -> str:
    return time.strftime("Date: %a, %d %b %Y %H:%M:%S GMT\r\n", time.gmtime(seconds))


def error_response(error: OciError) -> Response:
    """Return an error as its document."""
    return Response(error.status, (("Content-Type", MEDIA_TYPE),), error.document())


def failure_response() -> Response:
    """Return the answer for a request whose handler broke."""
    return error_response(
        OciError(HTTPStatus.INTERNAL_SERVER_ERROR, ErrorCode.UNKNOWN, "the request could not be answered")
    )


def refusal_response(status: HTTPStatus, message: str) -> Response:
    """Return the answer for what is no acceptable request."""
    response = error_response(OciError(status, ErrorCode.UNSUPPORTED, message))
    if status is not HTTPStatus.METHOD_NOT_ALLOWED:
        return response
    return Response(status, (*response.headers, ("Allow", "GET, HEAD")), response.body)
