"""The shell scripts are clean for shellcheck."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHELLCHECK = Path(sysconfig.get_path("scripts")) / "shellcheck"


@pytest.mark.parametrize(
    "script", ["toxw", ".ci/run", "webhook/mutation/spegel_metrics.sh", "tests/apiserver/real.sh"]
)
def test_shellcheck_finds_nothing(script):
    result = subprocess.run([SHELLCHECK, ROOT / script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
