"""What tests of the registry need."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemon.registry.alpine import IMAGE, NAME
from tests.daemon.registry.file_store import FileStore


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """A store with one image."""
    store = FileStore(tmp_path)
    store.add(NAME, IMAGE)
    return store
