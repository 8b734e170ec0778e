"""Figures for people; a figure and its unit are not torn apart at the end of a line."""

from __future__ import annotations

import time

_GAP = "\u00a0"  # a space that does not break


def size(count: int) -> str:
    """Return a number of bytes: ``512 B``, ``3.4 MiB``."""
    if count < 1024:
        return f"{count}{_GAP}B"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if value < 1023.95:
            return f"{value:.1f}{_GAP}{unit}"
    return f"{value / 1024:.1f}{_GAP}TiB"


def duration(seconds: float) -> str:
    """Return a length of time: ``0.4 ms``, ``12.5 s``, ``3 min``, ``5 h``, ``2 d``."""
    if seconds < 1:
        return f"{seconds * 1000:.1f}{_GAP}ms"
    if seconds < 100:
        return f"{seconds:.1f}{_GAP}s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes}{_GAP}min"
    hours = round(seconds / 3600)
    return f"{hours}{_GAP}h" if hours < 48 else f"{hours // 24}{_GAP}d"


def rate(count: int, seconds: float) -> str:
    """Return a throughput: ``85.3 MiB/s``; empty where there was none."""
    return f"{size(int(count / seconds))}/s" if count and seconds > 0 else ""


def moment(seconds: float) -> str:
    """Return a time in UTC, ``2026-03-01 12:00:00``, from the seconds since 1970."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
