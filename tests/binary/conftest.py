"""What the tests of the binary share: ``./toxw -e binary`` builds it and runs all of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def program() -> Path:
    """Return the built program."""
    if named := os.environ.get("SPEGEL_PROGRAM"):
        return Path(named)
    pytest.skip("./toxw -e binary builds it and runs this")
