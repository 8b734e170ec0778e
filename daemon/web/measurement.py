"""What the measurement of a pull found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lookup:
    """A peer that the router found for the image."""

    peer: str
    addresses: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Pull:
    """One piece of content that was read through the registry."""

    reference: str
    media_type: str
    size: int
    """In bytes."""
    seconds: float
    source: str
    """The peers that it came from, or this node."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """The whole result."""

    lookups: tuple[Lookup, ...]
    pulls: tuple[Pull, ...]
    problem: str | None
    """What kept it from reading the whole image, if anything did."""
