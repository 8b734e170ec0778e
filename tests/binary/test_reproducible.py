"""Two builds of the same sources are the same, byte by byte."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.daemon.cli.program import ROOT
from tests.daemon.clients.programs import missing

RESULTS = ("spegel", "spegel.cdx.json", "spegel.licences.txt")


def test_a_build_elsewhere_has_the_same_bytes(program: Path, tmp_path: Path) -> None:
    built = program.stat().st_mtime
    if any(
        path.stat().st_mtime > built for name in ("binary", "daemon") for path in (ROOT / name).rglob("*.py")
    ):
        missing("sources have changed since the program was built")
    sources, output = tmp_path / "another place", tmp_path / "output"
    for name in ("binary", "daemon"):
        shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.cfg", sources)
    text = subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout
    environment = os.environ | {
        "COMMIT": text.splitlines()[0].split()[-1],
        "PYTHONHASHSEED": "7",
        "TZ": "Asia/Tokyo",
        "LC_ALL": "C",
    }
    subprocess.run(
        [sys.executable, "-m", "binary", "--output", output],
        cwd=sources,
        env=environment,
        umask=0o077,
        check=True,
    )
    assert digests(output) == digests(program.parent)


def digests(directory: Path) -> dict[str, str]:
    return {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in RESULTS}
