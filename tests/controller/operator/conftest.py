"""A seed for each test that wants one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controller.operator import queue, reconciler
from tests.controller.seed import Seed, open_seed


@pytest.fixture
async def seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Seed]:
    """A seed on which tries follow each other quickly."""
    monkeypatch.setattr(queue, "_FIRST_DELAY_SECONDS", 0.01)
    monkeypatch.setattr(reconciler, "_LOOK_AGAIN_SECONDS", 0.05)
    async with open_seed(tmp_path) as opened:
        yield opened
