"""What a peer answers: a response head in, a checked offer out.

A peer is a stranger. What it says of itself, its length, its digest and its range must agree with what was
asked; an answer that does not is no answer, however it is framed.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from daemon.mirror.fault import Fault, PeerError
from daemon.oci.descriptor import BINARY, MANIFEST_MEDIA_TYPES
from daemon.oci.digest import Digest, InvalidDigestError, parse_digest

if TYPE_CHECKING:
    from daemon.http.response_head import ResponseHead
    from daemon.mirror.wanted import Range, Wanted

MANIFEST_LIMIT = 4 * 1024 * 1024
"""Bytes of a manifest: what the distribution specification tells registries to take at least."""

_EMPTY = frozenset(f"{name}:{hashlib.new(name).hexdigest()}" for name in ("sha256", "sha512"))
_LENGTH = re.compile(r"[0-9]{1,18}")
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_UNSATISFIED = re.compile(r"bytes \*/([0-9]{1,18})")
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")


class UnsatisfiableError(PeerError):
    """A peer has the content, and no byte of it is in the range that was asked for."""

    def __init__(self, size: int) -> None:
        """Note the size of the whole content, in bytes."""
        super().__init__(Fault.UNSATISFIABLE, f"it has only {size} bytes")
        self.size = size


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


def agree(wanted: Wanted, head: ResponseHead, size: int | None = None) -> Offer:
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
    digest = _digest(wanted, head)
    if total == 0 and digest not in _EMPTY:
        raise PeerError(Fault.LIED, "the content is empty, and its digest is not that of nothing")
    return Offer(digest, _media_type(wanted, head, total), total, first, length, head.reusable)


def _check_status(wanted: Wanted, head: ResponseHead) -> None:
    expected = 200 if wanted.range is None else 206
    if head.status == expected:
        return
    if head.status == HTTPStatus.NOT_FOUND:
        raise PeerError(Fault.MISSING, f"answered {head.status}")
    if head.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and wanted.range is not None:
        raise _unsatisfiable(wanted.range, head)
    # Whoever ignores a range does not lie, but that is of no use.
    fault = Fault.LIED if head.status < 300 and head.status != HTTPStatus.OK else Fault.REFUSED
    raise PeerError(fault, f"answered {head.status} where {expected} was to be expected")


def _unsatisfiable(asked: Range, head: ResponseHead) -> PeerError:
    match = _UNSATISFIED.fullmatch(head.fields.get("content-range", ""))
    if match is None:
        return PeerError(Fault.MISSING, "answered 416 without saying how much it has")
    size = int(match[1])
    first, end = _part(asked, size)
    if first < end:
        return PeerError(Fault.LIED, f"answered 416, and has {size} bytes")
    return UnsatisfiableError(size)


def _length(head: ResponseHead) -> int:
    text = head.fields.get("content-length", "")
    if not _LENGTH.fullmatch(text):
        raise PeerError(Fault.LIED, "the response has no valid content-length")
    return int(text)


def _range(wanted: Wanted, head: ResponseHead, length: int) -> tuple[int, int]:
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
    if (first, last + 1) != _part(wanted.range, total) or length != last + 1 - first or length < 1:
        raise PeerError(Fault.LIED, "the response's content-range is not what was asked for")
    return first, total


def _part(asked: Range, total: int) -> tuple[int, int]:
    """Return where a range starts in content of a size, and where it ends."""
    first, last = asked
    if first is None:
        return max(total - (last or 0), 0), total
    return first, total if last is None else min(last + 1, total)


def _digest(wanted: Wanted, head: ResponseHead) -> Digest:
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


def _media_type(wanted: Wanted, head: ResponseHead, size: int) -> str:
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
