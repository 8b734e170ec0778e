"""These tests need programs of others: ``./toxw -e interop`` brings them."""

from __future__ import annotations

import os

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what the environment was not made for."""
    if os.environ.get("INTEROP"):
        return
    for item in items:
        if "interop" in item.path.parts:
            item.add_marker(pytest.mark.skip(reason="./toxw -e interop runs it"))
