"""What the tests of the bootstrapper share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apiserver import ApiServer
from tests.bootstrapper.nodes import node
from tests.bootstrapper.process import Bootstrapper


@pytest.fixture
def api() -> Iterator[ApiServer]:
    """An API server with two nodes."""
    with ApiServer(node("a", "10.0.0.1", zone="z1"), node("b", "10.0.0.2", "fd00::2", zone="z2")) as api:
        yield api


@pytest.fixture
def bootstrapper(api: ApiServer, tmp_path: Path) -> Bootstrapper:
    """Not yet started, so that a test can choose settings."""
    return Bootstrapper(tmp_path, kubeconfig=api.write_kubeconfig(tmp_path / "kubeconfig"))
