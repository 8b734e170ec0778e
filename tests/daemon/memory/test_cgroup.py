"""Which generation of cgroups the tests of memory use: whichever this machine counts memory with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemon.memory.cgroup import Version1, Version2, memory_hierarchy


def hierarchy(directory: Path, *controllers: str) -> None:
    """Make a hierarchy of version 2."""
    directory.mkdir(exist_ok=True)
    (directory / "cgroup.controllers").write_text(" ".join(controllers) + "\n")


def version1(root: Path) -> None:
    (root / "memory").mkdir()
    (root / "memory" / "memory.limit_in_bytes").touch()


def test_version_2_where_there_is_nothing_else(tmp_path: Path) -> None:
    hierarchy(tmp_path, "cpuset", "cpu", "io", "memory", "pids")
    assert memory_hierarchy(tmp_path) == (Version2, tmp_path)


def test_version_1_where_it_has_the_memory_controller(tmp_path: Path) -> None:
    hierarchy(tmp_path / "unified", "hugetlb")
    version1(tmp_path)
    assert memory_hierarchy(tmp_path) == (Version1, tmp_path / "memory")


def test_version_2_where_it_has_the_memory_controller_beside_version_1(tmp_path: Path) -> None:
    hierarchy(tmp_path / "unified", "memory")
    (tmp_path / "cpu").mkdir()
    assert memory_hierarchy(tmp_path) == (Version2, tmp_path / "unified")


def test_nowhere(tmp_path: Path) -> None:
    hierarchy(tmp_path, "cpu")
    with pytest.raises(OSError, match="has the memory controller"):
        memory_hierarchy(tmp_path)
