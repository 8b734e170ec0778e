"""What ends the demo early."""

from __future__ import annotations


class DemoError(Exception):
    """The demo cannot show what it should; the message says why."""
