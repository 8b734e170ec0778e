"""Content digests (OCI image specification, descriptor.md, section Digests)."""

from __future__ import annotations

import re
from typing import NewType

Digest = NewType("Digest", str)
"""A digest that has been checked: ``sha256:`` or ``sha512:`` and 64 or 128 lower-case hex digits."""

_PATTERN = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


class InvalidDigestError(ValueError):
    """A text is no digest of a registered algorithm."""


def parse_digest(text: str) -> Digest:
    """Check a digest.

    Raises:
        InvalidDigestError: the algorithm is not registered or the encoded part is not its.
    """
    if not _PATTERN.fullmatch(text):
        raise InvalidDigestError(f"{text[:160]!r} is not a sha256 or sha512 digest")
    return Digest(text)
