"""How a peer can fail."""

from __future__ import annotations

import enum


class Fault(enum.Enum):
    """What went wrong with a peer; decides how long it is tried last."""

    MISSING = enum.auto()
    """It has not got this content (any more); nothing against it otherwise."""
    UNREACHABLE = enum.auto()
    """It refused the connection, broke it, or took too long."""
    REFUSED = enum.auto()
    """It answered with an error, or says something else than the peer before it."""
    LIED = enum.auto()
    """Its answer contradicts itself, the request, or the digest."""
    BUSY = enum.auto()
    """As much is asked of it already as is allowed; not its fault."""
    UNSATISFIABLE = enum.auto()
    """It has the content, but no byte of it is in the range that was asked for; not its fault."""


class PeerError(Exception):
    """A peer gave no usable answer."""

    def __init__(self, fault: Fault, message: str) -> None:
        """Say what went wrong and how."""
        super().__init__(message)
        self.fault = fault
