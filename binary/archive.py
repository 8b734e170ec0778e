"""A tree of files as the launcher reads it: the same bytes for the same tree."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Archive:
    """What is linked into the launcher."""

    listing: bytes
    """A line ``<mode> <size> <path>`` for every directory and file, mode in octal digits.

    A directory has mode 0 and comes before what is in it.
    """
    content: bytes
    """The files' content, one after another, compressed by zlib."""


def pack(root: Path) -> Archive:
    """Pack a directory; what is in a directory ``bin`` may be executed."""
    lines: list[str] = []
    compressor = zlib.compressobj(9)
    content: list[bytes] = []
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if path.is_dir():
            lines.append(f"0 0 {name}\n")
        else:
            data = path.read_bytes()
            mode = "755" if path.parent.name == "bin" else "644"
            lines.append(f"{mode} {len(data)} {name}\n")
            content.append(compressor.compress(data))
    content.append(compressor.flush())
    return Archive("".join(lines).encode(), b"".join(content))
