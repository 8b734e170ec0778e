"""What is asked of other nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from daemon.oci.digest import Digest

Range = tuple[int | None, int | None]
"""First and last byte, from 0; without a last one to the end, without a first one the last so many."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Content that this node has not; every field was checked by whoever parsed the request."""

    kind: Literal["manifest", "blob"]
    registry: str
    """The upstream registry (the ``ns`` parameter); empty when the request did not say."""
    name: str
    """The repository: ``library/alpine``."""
    reference: str
    """A checked digest, or a tag (manifests only)."""
    key: str
    """What peers advertise: the digest, or the full name ``docker.io/library/alpine:3.20`` of a tag."""
    method: Literal["GET", "HEAD"] = "GET"
    range: Range | None = None
    """A part of a blob."""
    accept: str | None = None
    """The Accept header of the request."""

    @property
    def digest(self) -> Digest | None:
        """The digest asked for, None when a tag was: no tag holds a colon."""
        return Digest(self.reference) if ":" in self.reference else None
