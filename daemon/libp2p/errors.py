"""Whose fault it is: the two families of errors of the protocol machines."""

from __future__ import annotations


class RemoteProtocolError(Exception):
    """The peer broke the rules. What it sent on this connection or stream cannot be trusted any further."""


class LocalProtocolError(Exception):
    """A machine was used in a way that its protocol does not allow: a mistake of our own."""
