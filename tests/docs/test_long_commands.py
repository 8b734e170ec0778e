"""What ``stand_ins.toxw`` only looks at, run: with DOCUMENTS=all, as ``./toxw -e docs`` sets it.

All commands by which documents call ./toxw, in a copy of this checkout, but for those that ``.ci/run`` runs
itself and the few in ELSEWHERE. Benchmarks are run briefly.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.checkout import NOT_COPIED
from tests.docs.markdown import DOCUMENTS, ROOT, inline_commands
from tests.docs.test_commands import lines_of_blocks
from tests.docs.test_documents import TOX

ELSEWHERE = {
    "./toxw -e demo -- --keep": "goes on until it is stopped: tests/integration/test_demo.py",
    "./toxw -e docs": "runs this",
}
"""Commands that are not run here, and where they are."""
_LIMIT = 1800.0


def _commands() -> list[str]:
    named = lines_of_blocks() | {
        quoted.text for document in DOCUMENTS for quoted in inline_commands(document)
    }
    calls = {
        found[1] for command in named if (found := re.fullmatch(r"(?:[A-Z_]+=\S+ )*(\./toxw.*)", command))
    }
    return sorted(calls - _run_by_ci() - ELSEWHERE.keys())


def _run_by_ci() -> set[str]:
    found = re.search(r"^for arguments in (.+); do$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert found is not None
    calls = {f"./toxw {arguments}".strip() for arguments in re.findall(r"'([^']*)'", found[1])}
    by_default = {f"./toxw -e {name.strip()}" for name in TOX["tox"]["env_list"].split(",")}
    return calls | (by_default if "./toxw" in calls else set())


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("checkout") / "registry-spegel"
    shutil.copytree(ROOT, directory, symlinks=True, ignore=shutil.ignore_patterns(*NOT_COPIED))
    shutil.copy(directory / "demo/sample/osc.yaml", directory)
    # Documents say of a benchmark that it comes after ./toxw -e binary.
    subprocess.run(
        [sys.executable, "-m", "binary"], cwd=directory, check=True, env=os.environ | {"COMMIT": "docs"}
    )
    return directory


def _briefly(benchmark: str) -> str:
    return "--largest 200 --only searches" if benchmark == "simulation" else "--quick"


@pytest.mark.skipif(os.environ.get("DOCUMENTS") != "all", reason="./toxw -e docs runs them")
@pytest.mark.parametrize("command", _commands())
def test_it_runs(command, checkout):
    command = re.sub(r"(bench -- (\w+)).*", lambda found: f"{found[1]} {_briefly(found[2])}", command)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("TOX", "VIRTUAL"))
    }
    result = subprocess.run(
        ["bash", "-c", command],
        cwd=checkout,
        env=environment | {"DOCUMENTS": ""},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_LIMIT,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-6000:]


def test_what_is_run_elsewhere_is_still_named():
    named = lines_of_blocks() | {
        quoted.text for document in DOCUMENTS for quoted in inline_commands(document)
    }
    assert ELSEWHERE.keys() <= named
