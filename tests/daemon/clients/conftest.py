"""Two machines with containerd, the registry that images are from, and images that nobody has seen before."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.clients.programs import (
    Upstream,
    flags_of,
    mirror_through,
    missing,
    new_image,
    program,
    skopeo_copy,
    upstream,
)
from tests.daemon.images import TestImage
from tests.integration.containerd.containerd import Containerd


def _containerd(directory: Path) -> Iterator[Containerd]:
    if os.geteuid() != 0:
        missing("containerd needs root")
    binary = program(os.environ.get("CONTAINERD") or "containerd")
    ctr = program(os.environ.get("CTR") or str(Path(binary).with_name("ctr")))
    containerd = Containerd(binary, ctr, directory)
    try:
        containerd.start(containerd.default_config())
        yield containerd
    finally:
        containerd.stop()


@pytest.fixture(scope="session")
def first_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    yield from _containerd(tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="session")
def second_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    yield from _containerd(tmp_path_factory.mktemp("second"))


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    with upstream(tmp_path_factory.mktemp("upstream")) as running:
        yield running


@pytest.fixture
def image(registry: Upstream) -> TestImage:
    return new_image(registry)


@pytest.fixture(autouse=True)
def debug_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "daemon.registry.observer")
    caplog.set_level(logging.DEBUG, "daemon.mirror.relay")


@pytest.fixture(params=["containerd", "layout"])
async def holder(
    request: pytest.FixtureRequest,
    first_machine: Containerd,
    registry: Upstream,
    image: TestImage,
    tmp_path: Path,
) -> dict[str, Any]:
    """The flags of a daemon whose store has the image: containerd's, or a directory that skopeo wrote."""
    if request.param == "containerd":
        mirror_through(first_machine, registry)
        await asyncio.to_thread(first_machine.pull_with_cri, registry.name(image))
        return flags_of(first_machine)
    layout = tmp_path / "layout"
    await asyncio.to_thread(
        skopeo_copy, f"docker://{registry.name(image)}", f"oci:{layout}:{registry.name(image)}"
    )
    return {"oci_layout": str(layout)}
