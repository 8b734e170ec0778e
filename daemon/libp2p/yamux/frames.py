"""Frames as they travel: a header of twelve bytes and, in data frames, so many bytes of data."""

from __future__ import annotations

import struct
from typing import Final

HEADER = struct.Struct(">BBHII")
"""Version, type, flags, stream, length; the length is a credit, a ping's value or a code in other frames."""
VERSION: Final = 0

# Types. Plain numbers, since enum's arithmetic would take longer than all else that is done with a frame.
DATA: Final = 0
WINDOW_UPDATE: Final = 1
PING: Final = 2
GO_AWAY: Final = 3

# Flags.
SYN: Final = 1
ACK: Final = 2
FIN: Final = 4
RST: Final = 8


def header(kind: int, flags: int, stream_id: int, length: int) -> bytes:
    """Return a frame's header."""
    return HEADER.pack(VERSION, kind, flags, stream_id, length)
