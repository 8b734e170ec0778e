"""A memory cgroup of the test's own, of whichever generation this machine has.

A kernel counts memory in one hierarchy only, so a machine with version 1 cannot try version 2. Debian's
user-mode-linux can, as an ordinary process: its kernel has version 2 alone with ``cgroup_no_v1=all``, and its
root file system may be the machine's own, read-only (hostfs) below an overlay on a tmpfs.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

ROOT = Path("/sys/fs/cgroup")


class Cgroup(Protocol):
    """The figures of a cgroup, in bytes where nothing else is said."""

    directory: Path

    def processes(self) -> list[int]:
        """Return the process IDs."""

    def oom_kills(self) -> int:
        """Return how many processes were killed for want of memory."""

    def peak(self) -> int:
        """Return the most that was charged at once, page cache included; 0 where it is not recorded."""

    def sockets_peak(self) -> int:
        """Return the most that socket buffers took at once; 0 where it is not recorded."""

    def kernel_peak(self) -> int:
        """Return the most that the kernel took for itself, sockets apart; 0 where it is not recorded."""

    def refusals(self) -> int:
        """Return how often the limit was met and something had to be reclaimed."""


class Version1:
    """cgroup v1; socket buffers are limited apart from the rest, by as much again."""

    def __init__(self, directory: Path, limit: int) -> None:
        self.directory = directory
        _write(directory / "memory.limit_in_bytes", limit)
        _write(directory / "memory.kmem.tcp.limit_in_bytes", limit)

    def processes(self) -> list[int]:
        return _processes(self.directory)

    def oom_kills(self) -> int:
        return _table(self.directory / "memory.oom_control")["oom_kill"]

    def peak(self) -> int:
        return _number(self.directory / "memory.max_usage_in_bytes")

    def sockets_peak(self) -> int:
        return _number(self.directory / "memory.kmem.tcp.max_usage_in_bytes")

    def kernel_peak(self) -> int:
        return _number(self.directory / "memory.kmem.max_usage_in_bytes")

    def refusals(self) -> int:
        return _number(self.directory / "memory.failcnt")


class Version2:
    """cgroup v2, with the unit's MemoryHigh as well as its MemoryMax."""

    def __init__(self, directory: Path, limit: int) -> None:
        self.directory = directory
        _write(directory / "memory.max", limit)
        _write(directory / "memory.high", limit * 8 // 10)

    def processes(self) -> list[int]:
        return _processes(self.directory)

    def oom_kills(self) -> int:
        return _table(self.directory / "memory.events")["oom_kill"]

    def peak(self) -> int:
        peak = self.directory / "memory.peak"  # Linux 5.19
        return _number(peak) if peak.exists() else 0

    def sockets_peak(self) -> int:
        return 0

    def kernel_peak(self) -> int:
        return 0

    def refusals(self) -> int:
        return _table(self.directory / "memory.events")["max"]


@contextlib.contextmanager
def memory_cgroup(limit: int) -> Iterator[Cgroup]:
    """Make a cgroup with a limit in bytes; skip the test where this machine does not allow that."""
    try:
        cgroup = _make(*memory_hierarchy(ROOT), limit)
    except OSError as error:
        pytest.skip(f"no memory cgroup can be made here: {error}")
    try:
        yield cgroup
    finally:
        cgroup.directory.rmdir()


def memory_hierarchy(root: Path) -> tuple[type[Version1 | Version2], Path]:
    """Return where memory is counted: the kernel gives each controller to one hierarchy only.

    Raises:
        OSError: it is nowhere to be found.
    """
    for version2 in (root, root / "unified"):  # alone, or beside hierarchies of version 1
        with contextlib.suppress(FileNotFoundError):
            if "memory" in (version2 / "cgroup.controllers").read_text().split():
                return Version2, version2
    if (root / "memory/memory.limit_in_bytes").exists():
        return Version1, root / "memory"
    raise FileNotFoundError(f"no cgroup below {root} has the memory controller")


def _make(version: type[Version1 | Version2], root: Path, limit: int) -> Cgroup:
    if version is Version2 and "memory" not in (root / "cgroup.subtree_control").read_text().split():
        _write(root / "cgroup.subtree_control", "+memory")
    directory = root / f"spegel-test-{uuid.uuid4().hex[:8]}"
    directory.mkdir()
    try:
        return version(directory, limit)
    except OSError:
        directory.rmdir()
        raise


def entering(cgroup: Cgroup, *command: str) -> list[str]:
    """Return a command that runs another one inside a cgroup from its start on."""
    return ["/bin/sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', os.fspath(cgroup.directory), *command]


def _write(path: Path, value: object) -> None:
    # Not write_text: what does not exist is not to be created.
    with path.open("r+") as file:
        file.write(str(value))


def _processes(directory: Path) -> list[int]:
    return [int(line) for line in (directory / "cgroup.procs").read_text().splitlines()]


def _number(path: Path) -> int:
    return int(path.read_text())


def _table(path: Path) -> dict[str, int]:
    return {name: int(value) for name, value in map(str.split, path.read_text().splitlines())}
