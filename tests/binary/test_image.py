"""The image that the program comes in: what the Dockerfile says of it, and what a node makes of it."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from binary.image import ENTRYPOINT, LABELS, lay_out
from tests.daemon.cli.program import LIMIT, ROOT
from tests.daemon.clients.programs import run, skopeo_copy, upstream
from tests.daemon.containerd import Containerd, require_containerd

DOCKERFILE = (ROOT / "binary" / "Dockerfile").read_text()
BUILD, FINAL = DOCKERFILE.split("FROM scratch\n")


def test_the_image_is_otherwise_empty() -> None:
    assert re.findall(r"^(COPY|ADD|RUN)\b(.*)", FINAL, re.MULTILINE) == [
        ("COPY", " --from=build /src/dist/spegel /spegel")
    ]


def test_the_dockerfile_makes_the_image_that_is_made_without_docker() -> None:
    assert dict(re.findall(r'(org\.opencontainers\.\S+)="(.*)"', FINAL)) == LABELS
    assert re.findall(r"^ENTRYPOINT (.*)", FINAL, re.MULTILINE) == [json.dumps(ENTRYPOINT)]


def test_the_dockerfile_builds_on_a_pinned_debian_12() -> None:
    (base,) = re.findall(r"^FROM (\S+) AS build$", BUILD, re.MULTILINE)
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-bookworm", base)


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    sources = [
        source for line in re.findall(r"^COPY (.*)", BUILD, re.MULTILINE) for source in line.split()[:-1]
    ]
    assert set(sources) == {"setup.cfg", "binary", "daemon"}
    for source in sources:
        assert (ROOT / source).exists()
        assert f"!{source}" in rules


@pytest.mark.root
def test_a_node_takes_the_program_out_of_the_image_and_runs_it(program: Path, tmp_path: Path) -> None:
    require_containerd()
    lay_out(program, tmp_path / "layout", "v1")
    with upstream(tmp_path) as registry:
        name = f"{registry.address}/gardener/spegel:v1"
        skopeo_copy(f"oci:{tmp_path / 'layout'}:v1", f"docker://{name}")
        taken = take_out(name, tmp_path)
    assert taken.read_bytes() == program.read_bytes()
    assert stat.S_IMODE(taken.stat().st_mode) == 0o755
    result = subprocess.run(
        [taken, "version"],
        env={"SPEGEL_UNPACK_DIR": str(tmp_path / "base")},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    )
    assert result.stdout.startswith("spegel version ")


def take_out(name: str, tmp_path: Path) -> Path:
    """Do as the node agent: pull, unpack, mount a view of the snapshot, copy the one file."""
    directory, mounted = tmp_path / "containerd", tmp_path / "mounted"
    directory.mkdir()
    mounted.mkdir()
    containerd = Containerd(directory)
    containerd.start()
    try:
        snapshotter = ("--snapshotter", "native")
        containerd.ctr("images", "pull", "--plain-http", *snapshotter, name, namespace="default")
        containerd.ctr("images", "mount", *snapshotter, name, str(mounted), namespace="default")
        try:
            assert [path.name for path in mounted.iterdir()] == ["spegel"]
            return Path(shutil.copy(mounted / "spegel", tmp_path / "taken"))
        finally:
            run("umount", mounted)
    finally:
        containerd.stop()
