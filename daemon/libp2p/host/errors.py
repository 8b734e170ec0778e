"""What goes wrong between this host and another, none of it a reason to stop."""

from __future__ import annotations


class DialError(Exception):
    """A peer cannot be reached; the message says at which address and why."""


class SelfDialError(DialError):
    """This host itself listens at the address."""

    def __init__(self) -> None:
        super().__init__("that is this node itself")


class StreamError(Exception):
    """A stream is over before its work was done: reset by either side, or its connection was lost."""
