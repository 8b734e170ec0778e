"""The wrapper makes tox's environment when it has to, and only then. Its Python is a stub that makes none."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

WRAPPER = Path(__file__).parents[2] / "toxw"
IDENTITY = "import sys; print(sys.base_prefix, sys.version)"
"""What the wrapper asks two interpreters, to see whether they are the same."""

# Stands for python3 and, copied by itself, for the environment's python; notes what it is asked to make.
STUB = """\
#!/bin/sh
case "$1 $2" in
"-m venv") echo "venv" >>"$NOTES"; mkdir -p "$3/bin"; cp "$STUB" "$3/bin/python" ;;
"-m pip") echo "pip" >>"$NOTES"; test ! -e "$OFFLINE" ;;
"-m tox") shift 2; echo "tox in $(pwd):" "$@" ;;
"-c import tox") ;;
"-c import venv, ensurepip") test ! -e "$WITHOUT_VENV" ;;
*) exec "$REAL" "$@" ;;
esac
"""


class Checkout:
    """A checkout with the wrapper, on a machine whose only Python is the stub."""

    def __init__(self, tmp_path: Path) -> None:
        self.root = tmp_path / "a checkout"
        self.root.mkdir()
        shutil.copy(WRAPPER, self.root)
        programs = tmp_path / "bin"
        programs.mkdir()
        for name in ("sh", "cat", "cp", "dirname", "mkdir", "rm"):
            (programs / name).symlink_to(shutil.which(name) or f"/missing/{name}")
        self.stub = programs / "python3"
        self.stub.write_text(STUB)
        self.stub.chmod(0o755)
        self.offline = tmp_path / "offline"
        self.without_venv = tmp_path / "without venv"
        self.notes = tmp_path / "notes"
        self.notes.touch()
        self.environment = {
            "PATH": str(programs),
            "REAL": sys.executable,
            "STUB": str(self.stub),
            "NOTES": str(self.notes),
            "OFFLINE": str(self.offline),
            "WITHOUT_VENV": str(self.without_venv),
        }

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.root / "toxw", *arguments],
            cwd="/",
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        with self.start(*arguments, **environment) as process:
            output, errors = process.communicate()
        return process.returncode, output, errors

    def made(self) -> list[str]:
        return self.notes.read_text().split()


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def test_the_first_call_makes_it_and_the_second_uses_it(checkout):
    status, output, errors = checkout.call("-e", "test", "--", "-k", "two words")
    assert (status, output) == (0, f"tox in {checkout.root}: -e test -- -k two words\n")
    assert errors == f"toxw: preparing tox in {checkout.root}/.toxw\n"
    assert checkout.call() == (0, f"tox in {checkout.root}:\n", "")
    assert checkout.made() == ["venv", "pip"]


def test_calls_at_the_same_time_make_it_once(checkout):
    processes = [checkout.start() for _ in range(4)]
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    assert checkout.made() == ["venv", "pip"]


def test_after_a_first_call_that_failed_the_next_begins_anew(checkout):
    checkout.offline.touch()
    status, output, errors = checkout.call()
    assert (status, output) == (1, "")
    assert "cannot install tox" in errors
    checkout.offline.unlink()
    assert checkout.call()[0] == 0
    assert checkout.made() == ["venv", "pip"] * 2


def test_a_moved_checkout_makes_it_anew(checkout):
    assert checkout.call()[0] == 0
    (checkout.root / ".tox").mkdir()
    checkout.root = checkout.root.rename(checkout.root.with_name("elsewhere"))
    assert checkout.call()[:2] == (0, f"tox in {checkout.root}:\n")
    assert not (checkout.root / ".tox").exists(), "its environments hold the old path"
    assert checkout.made() == ["venv", "pip"] * 2


def test_a_python_that_is_gone_makes_it_anew(checkout):
    assert checkout.call()[0] == 0
    (checkout.root / ".toxw" / "bin" / "python").unlink()
    assert checkout.call()[0] == 0
    assert checkout.made() == ["venv", "pip"] * 2


def test_another_python_that_is_asked_for_makes_it_anew(checkout):
    assert checkout.call()[0] == 0
    other = checkout.stub.with_name("other python")
    other.write_text(STUB.replace("*)", f'"-c {IDENTITY}") echo another ;;\n*)'))
    other.chmod(0o755)
    assert checkout.call(PYTHON=str(other), STUB=str(other))[0] == 0
    assert checkout.call(PYTHON=str(other), STUB=str(other))[0] == 0
    assert checkout.call()[0] == 0, "without a wish any Python will do"
    assert checkout.made() == ["venv", "pip"] * 2


def test_what_is_missing_is_said(checkout):
    checkout.without_venv.touch()
    python = str(checkout.stub)
    assert checkout.call() == (
        1,
        "",
        "toxw: python3 has no venv module (Debian: apt-get install python3-venv)\n",
    )
    assert checkout.call(PYTHON=python)[2] == (
        f"toxw: PYTHON={python} has no venv module (Debian: apt-get install python3-venv)\n"
    )
    assert checkout.call(PYTHON="/missing/python") == (
        1,
        "",
        "toxw: PYTHON=/missing/python is not a Python 3.11 or newer\n",
    )
    checkout.stub.unlink()
    assert checkout.call() == (
        1,
        "",
        "toxw: no Python 3.11 or newer found; install one or name it in PYTHON\n",
    )
    assert checkout.made() == []
