"""Where the commands of documents run: a copy of this checkout with an empty home.

Programs that would take minutes, or something that is not there, are stood in for, see ``stand_ins``.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.docs.markdown import ROOT
from tests.e2e.process import wait_until

LIMIT = 120.0
NOT_COPIED = (
    ".git",
    ".tox",
    ".toxw*",
    ".venv",
    "dist",
    "build",
    "node_modules",
    ".*cache",
    ".hypothesis",
    "__pycache__",
)
_STAND_INS = ("toxw", "pip", "helm", "docker")


_BASH = ("bash", "-euo", "pipefail", "-c")


class Checkout:
    """The copy."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "registry-spegel"
        self._home = directory / "home"
        self._programs = directory / "bin"
        shutil.copytree(ROOT, self.directory, symlinks=True, ignore=shutil.ignore_patterns(*NOT_COPIED))
        built = self.directory / "dist/spegel"
        built.parent.mkdir()
        built.write_text("What ./toxw -e binary builds.\n")
        self._home.mkdir()
        self._programs.mkdir()
        python = f'exec "{sys.executable}"'
        self.provide("python", f'{python} "$@"')
        self.provide("spegel", f'{python} -m daemon "$@"')
        for name in _STAND_INS:
            self.provide(name, f'{python} -m tests.docs.stand_ins.{name} "$@"')
        wrapper = self.directory / "toxw"
        wrapper.unlink()
        wrapper.symlink_to(self._programs / "toxw")

    def provide(self, name: str, line: str) -> None:
        """Have a program of this name, which is this line of shell."""
        path = self._programs / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that commands are given."""
        kept = {name: value for name, value in os.environ.items() if name in ("LANG", "TMPDIR")}
        return kept | {
            "PATH": f"{self._programs}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self._home),
            "GIT_DIR": str(ROOT / ".git"),
            "PYTHONPATH": str(self.directory),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TERM": "dumb",
        }

    def run(
        self, script: str, environment: Mapping[str, str] | None = None, prefix: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a script to its end, errors and output in one, as a terminal shows them.

        Args:
            script: for bash, which ends at the first error.
            environment: variables more.
            prefix: a command that runs it elsewhere.
        """
        return subprocess.run(
            [*prefix, *_BASH, f"cd {self.directory}\n{script}"],
            env=self.environment | (environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
            check=False,
        )

    @contextlib.contextmanager
    def server(
        self, script: str, log: Path, environment: Mapping[str, str], prefix: tuple[str, ...]
    ) -> Iterator[None]:
        """Run a script that goes on, and stop it at the end; it has begun when it says that it listens."""
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [*prefix, *_BASH, f"cd {self.directory}\nexec {script}"],
                env=self.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

        def listens() -> bool:
            text = log.read_text()
            assert process.poll() is None, f"{script}: it has ended:\n{text}"
            return re.search("listening", text, re.IGNORECASE) is not None

        try:
            wait_until(listens, f"{script.strip()}: that it listens")
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(LIMIT)
