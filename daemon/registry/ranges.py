"""Byte ranges (RFC 9110, section 14).

A server may ignore any Range field. It is ignored here where it is malformed, has another unit than bytes,
or names several ranges, which no client of a registry sends: the answer is then the whole, with status 200.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from daemon.http.message import Request

# 18 digits are more than any blob has, and keep the numbers small.
_SINGLE = re.compile(r"bytes=[ \t]*(?:(\d{1,18})-(\d{1,18})?|-(\d{1,18}))[ \t]*", re.ASCII | re.IGNORECASE)


class UnsatisfiableRangeError(Exception):
    """A range starts behind the content's end."""


@dataclass(frozen=True, slots=True)
class Range:
    """One range as a client asks for it."""

    first: int | None
    """From 0; None for the last ``last`` bytes."""
    last: int | None
    """Included; None for the content's end."""

    def within(self, size: int) -> tuple[int, int] | None:
        """Return offset and length within content of a size; None when only the whole can be answered.

        Raises:
            UnsatisfiableRangeError: no byte is within the content.
        """
        if self.first is None:
            suffix = min(self.last or 0, size)
            if self.last == 0:
                raise UnsatisfiableRangeError
            # The last bytes of nothing are nothing, for which Content-Range has no words.
            return (size - suffix, suffix) if suffix else None
        if self.first >= size:
            raise UnsatisfiableRangeError
        end = size if self.last is None else min(self.last + 1, size)
        return self.first, end - self.first


def requested_range(request: Request) -> Range | None:
    """Return the range that a request asks for; None when it asks for the whole, or is taken to do so."""
    text = request.headers.get("range")
    # Only GET has ranges. If-Range asks for one only if a validator matches, and nothing here has validators.
    if text is None or request.method != "GET" or "if-range" in request.headers:
        return None
    match = _SINGLE.fullmatch(text)
    if match is None:
        return None
    first, last, suffix = (int(digits) if digits else None for digits in match.groups())
    if first is None:
        return Range(None, suffix)
    if last is not None and last < first:
        return None
    return Range(first, last)
