"""Durations as Go writes them: ``20ms``, ``1m30s``, ``1.5h``, ``-1s``, ``0`` (Go's time.ParseDuration)."""

from __future__ import annotations

import re

_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # micro sign
    "μs": 1_000,  # Greek letter mu
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3600 * 1_000_000_000,
}
_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)")
_LARGEST = 2**63 - 1
_DIGITS = 19
"""More digits than that are out of range before the point, and below a nanosecond behind it."""


class InvalidDurationError(ValueError):
    """A text is no duration; the message says why."""


def parse_duration(text: str) -> float:
    """Return a duration in seconds, exact to the nanosecond and to what a float can hold.

    Raises:
        InvalidDurationError: the text is no duration, or longer than 292 years.
    """
    sign, rest = (text[0], text[1:]) if text[:1] in {"+", "-"} else ("", text)
    if rest == "0":
        return 0.0
    total = position = 0
    while position < len(rest):
        part = _PART.match(rest, position)
        if part is None or not (part[1] or part[2]):
            break
        total += _nanoseconds(part[1].lstrip("0"), part[2] or "", _NANOSECONDS[part[3]])
        position = part.end()
    if not position or position < len(rest):
        raise InvalidDurationError(f"{text[:80]!r} is no duration such as 20ms, 1m30s or 1.5h")
    if total > _LARGEST:
        raise InvalidDurationError(f"{text[:80]!r} is too long a duration")
    return (-total if sign == "-" else total) / 1e9


def _nanoseconds(whole: str, fraction: str, unit: int) -> int:
    if len(whole) > _DIGITS:
        return _LARGEST + 1
    fraction = fraction[:_DIGITS]
    scale: int = 10 ** len(fraction)
    return int(whole or "0") * unit + int(fraction or "0") * unit // scale
