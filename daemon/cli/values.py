"""Values of flags, read as Go's standard library reads them: upstream's unit files must mean the same here.

Each function takes the text and raises ValueError with a message that says what would be right.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_INT = re.compile(r"[+-]?(?:0[xX]_?[0-9a-fA-F]|0[oO]_?[0-7]|0[bB]_?[01]|[0-9])(?:_?[0-9a-fA-F])*")
_LEVEL = re.compile(r"(debug|info|warn|error)([+-][0-9]{1,3})?", re.IGNORECASE)
_LEVELS = {"debug": 10, "info": 20, "warn": 30, "error": 40}
_SIZE = re.compile(r"([0-9]{1,15})([kKMGT]i?)?")
_FACTORS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_FACTORS |= {"ki": 2**10, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def parse_text(text: str) -> str:
    """Return any text as it is."""
    return text


def parse_bool(text: str) -> bool:
    """Return a truth value (strconv.ParseBool)."""
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError(f"{text[:80]!r} is neither true nor false")


def parse_int(text: str) -> int:
    """Return a whole number of 64 bits, with the prefixes 0x, 0o, 0b and 0 (strconv.ParseInt, base 0)."""
    if len(text) <= 80 and _INT.fullmatch(text):
        plain = re.sub(r"^([+-]?)0_?([0-9])", r"\g<1>0o\2", text)
        try:
            number = int(plain, 0)
        except ValueError:
            pass
        else:
            if -(2**63) <= number < 2**63:
                return number
    raise ValueError(f"{text[:80]!r} is no whole number")


def parse_level(text: str) -> int:
    """Return a level of the logging module from one of log/slog: ``info``, ``WARN``, ``DEBUG-4``."""
    match = _LEVEL.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:80]!r} is no log level: DEBUG, INFO, WARN or ERROR")
    # slog's levels are 4 apart, logging's 10; level 0 would mean "not set".
    return max(1, _LEVELS[match[1].lower()] + int(match[2] or "0") * 10 // 4)


def parse_address(text: str) -> str:
    """Check an address to listen on: ``:5000``, ``host:port`` or ``[::1]:5000``."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    well_formed = colon and port.isascii() and port.isdigit() and (":" not in host or bracketed)
    if not well_formed or len(port) > 5 or int(port) > 65535:
        raise ValueError(f"{text[:80]!r} is no address: give :port, host:port or [IPv6]:port")
    return text


def parse_url(text: str) -> str:
    """Check an http or https URL; empty is allowed."""
    try:
        parts = urlsplit(text)
        usable = not text or (parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0)
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("it is no URL such as https://host:port/path")
    return text


def parse_size(text: str) -> int:
    """Return a number of bytes: ``0``, ``500k``, ``50Mi``, ``1G``, as Kubernetes writes quantities."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:80]!r} is no size such as 50Mi, 100M or 1Gi")
    return int(match[1]) * _FACTORS[match[2] or ""]


def port_of(address: str) -> int:
    """Return the port of an address that was checked."""
    return int(address.rpartition(":")[2])
