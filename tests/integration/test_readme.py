"""What the documents say can be done: their commands run, their environments and links exist."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    ROOT / "manifests/README.md",
]
TOX = configparser.ConfigParser(interpolation=None)
TOX.read(ROOT / "tox.ini")
ENVIRONMENTS = {
    section.removeprefix("testenv:") for section in TOX.sections() if section.startswith("testenv:")
}

NOT_RUN_HERE = {"./toxw": "runs these very tests"}
"""Commands with side effects, and why they are believed."""


def shell_commands(document: Path) -> list[str]:
    blocks = re.findall(
        r"^```(?:sh|bash|shell|console)\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL
    )
    return [line for block in blocks for line in block.splitlines() if line]


COMMANDS = [
    pytest.param(command, id=f"{document.name}: {command}")
    for document in DOCUMENTS
    for command in shell_commands(document)
]


def runnable(command: str) -> str:
    """Return a command as it runs inside of an environment that tox has made already."""
    if environment := re.fullmatch(r"\./toxw -e (\w+)", command):
        return TOX[f"testenv:{environment[1]}"]["commands"].replace("{posargs}", "")
    return command


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_documents_runs(command, tmp_path):
    if reason := NOT_RUN_HERE.get(command):
        assert (ROOT / command).stat().st_mode & 0o111, reason
        return
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", runnable(command)],
        cwd=ROOT,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout
    assert "Traceback" not in result.stderr


def test_there_are_commands_to_run():
    assert "./toxw" in shell_commands(ROOT / "README.md")
    assert "./toxw -e demo" in shell_commands(ROOT / "README.md")


def test_a_second_time_changes_nothing_as_the_readme_says():
    [command] = [
        command for command in shell_commands(ROOT / "README.md") if "mutate - --output patch" in command
    ]
    command = command.replace("python ", f'"{sys.executable}" ')
    result = subprocess.run(
        ["/bin/bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.stdout == "[]\n"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_the_environments_that_a_document_names_exist(document):
    named = re.findall(r"toxw (?:run )?-e ([\w,-]+)", document.read_text())
    assert {name for names in named for name in names.split(",")} <= ENVIRONMENTS


def test_the_environments_that_run_by_default_exist():
    assert {name.strip() for name in TOX["tox"]["env_list"].split(",")} <= ENVIRONMENTS


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_the_links_of_a_document_lead_somewhere(document):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text())
    missing = [
        link for link in links if not re.match(r"https?://", link) and not (document.parent / link).exists()
    ]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_the_files_that_a_document_names_exist(document):
    """Paths from the root of the repository in back quotes."""
    tops = "|".join(re.escape(path.name) for path in ROOT.iterdir() if path.is_dir() and path.name[0] != ".")
    named = re.findall(rf"`((?:{tops})/[\w./-]*)`", document.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []
