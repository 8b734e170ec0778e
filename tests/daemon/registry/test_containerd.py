"""The conformance suite with the real containerd."""

from __future__ import annotations

import pytest

from tests.daemon.registry.conformance import RegistryConformance
from tests.daemon.store.test_containerd import harness, process

__all__ = ["harness", "process"]

pytestmark = pytest.mark.root


class TestContainerd(RegistryConformance):
    """With the stores' own fixture."""
