"""Tables, and where they are kept: docs/benchmarks.md is made of what the benchmarks wrote."""

from __future__ import annotations

import datetime
import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

DOCUMENT = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def machine() -> str:
    """Say where and when something was measured."""
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return (
        f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores, {pages / 2**30:.0f} GiB, "
        f"Linux {platform.release().split('-')[0]}, Python {platform.python_version()}, "
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}."
    )


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, columns aligned for the reader of the source."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = [
        " | ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in (header, *rows)
    ]
    rule = " | ".join("-" * (width - 1) + ":" for width in widths)
    return "\n".join(f"| {line} |" for line in (lines[0], rule, *lines[1:]))


def write_section(name: str, text: str, path: Path = DOCUMENT) -> None:
    """Replace what stands between the markers of a section in a document.

    Raises:
        ValueError: the document has no such markers.
    """
    pattern = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
    document, count = pattern.subn(lambda found: f"{found[1]}{text}\n{found[2]}", path.read_text())
    if count != 1:
        raise ValueError(f"{path} has no section {name}")
    path.write_text(document)
