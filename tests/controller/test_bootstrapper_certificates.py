"""The bootstrapper and its nodes with the certificates that the controller makes, through a rotation."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from controller.certificates.keeping import renew
from controller.certificates.model import EMPTY, Certificates, Data
from controller.certificates.rotation import Rotation
from daemon.bootstrap.base import BootstrapError
from daemon.bootstrap.http import HttpSource
from tests.bootstrapper.nodes import node
from tests.bootstrapper.process import Bootstrapper

HOST = "localhost"


def step(stored: Certificates, rotation: Rotation) -> Certificates:
    now = datetime.now(UTC)
    return renew(stored, organization="shoot--crazy--botany", host=HOST, rotation=rotation, now=now)


def rotated() -> dict[str, Certificates]:
    """By the time of a rotation: what is stored then."""
    before = step(EMPTY, Rotation())
    during = step(before, Rotation("Preparing", "2026-11-24T00:00:00Z"))
    after = step(during, Rotation("Completing", "2026-11-24T00:00:00Z"))
    return {"before": before, "during": during, "after": after}


def write(directory: Path, data: Data) -> Path:
    directory.mkdir(exist_ok=True)
    for name, content in data.items():
        new = directory / f"{name}.new"
        new.write_bytes(content)
        new.replace(directory / name)
    return directory


@pytest.fixture
def bootstrapper(tmp_path: Path) -> Iterator[Bootstrapper]:
    nodes = tmp_path / "nodes.yaml"
    nodes.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [node("a", "10.1.2.3")]}))
    with Bootstrapper(tmp_path, nodes_file=nodes) as process:
        process.wait_until_ready()
        yield process


def curl(port: int, directory: Path) -> bool:
    """Whether curl gets an answer."""
    if shutil.which("curl") is None:
        missing = "curl is not installed: Debian package curl"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    files = [
        "--cacert",
        directory / "ca.crt",
        "--cert",
        directory / "tls.crt",
        "--key",
        directory / "tls.key",
    ]
    url = f"https://{HOST}:{port}/bootstrap-nodes"
    run = subprocess.run(["curl", "--silent", "--fail", *files, url], capture_output=True, check=False)
    return run.returncode == 0


async def find(port: int, directory: Path) -> bool:
    """Whether the daemon learns of the one node that there is."""
    try:
        return len(await HttpSource(f"https://{HOST}:{port}/bootstrap-nodes", directory).find()) == 1
    except BootstrapError:
        return False


async def test_nobody_is_left_out_by_a_step_and_the_old_authority_is_refused_in_the_end(
    bootstrapper: Bootstrapper, tmp_path: Path
) -> None:
    steps = rotated()
    pairs = list(itertools.product(steps, steps))
    by_curl, by_daemon = [], []
    for server, client in pairs:
        write(tmp_path, steps[server].server)
        directory = write(tmp_path / client, steps[client].client)
        by_curl.append(curl(bootstrapper.port, directory))
        by_daemon.append(await find(bootstrapper.port, directory))
    two_steps_apart = [{"before", "after"} == set(pair) for pair in pairs]
    assert by_curl == by_daemon == [not apart for apart in two_steps_apart]
