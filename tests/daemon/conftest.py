"""What tests of several of the daemon's parts need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.containerd import Containerd, require_containerd


@pytest.fixture
def containerd(tmp_path: Path) -> Iterator[Containerd]:
    """containerd, with nothing in it."""
    require_containerd()
    (tmp_path / "containerd").mkdir()
    containerd = Containerd(tmp_path / "containerd")
    try:
        containerd.start()
        yield containerd
    finally:
        containerd.stop()
