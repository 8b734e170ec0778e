"""One containerd for all tests of this folder, and registries for each of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.integration.containerd.containerd import Containerd
from tests.integration.containerd.node import apply_plugins
from tests.integration.containerd.registries import Registries
from tests.unit.mutation_samples import apply, sample


def program_of(variable: str, default: str) -> str:
    program = shutil.which(os.environ.get(variable) or default)
    if program is None:
        missing(f"{default} is not installed (Debian package containerd; {variable} names another)")
    return program


def missing(message: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def containerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    """containerd configured by the result of a sample; ``CONTAINERD`` and ``CTR`` name other programs."""
    if os.geteuid() != 0:
        missing("containerd needs root")
    program = program_of("CONTAINERD", "containerd")
    ctr = program_of("CTR", str(Path(program).with_name("ctr")))
    containerd = Containerd(program, ctr, tmp_path_factory.mktemp("containerd"))
    config = containerd.default_config()
    apply_plugins(apply(sample("osc-with-cache-and-mirror.yaml")), config)
    try:
        containerd.start(config)
        yield containerd
    finally:
        containerd.stop()


@pytest.fixture
def registries(containerd: Containerd) -> Iterator[Registries]:
    registries = Registries()
    yield registries
    registries.stop()
    shutil.rmtree(containerd.certs_d)
    containerd.certs_d.mkdir()
