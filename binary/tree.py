"""The tree of files that the program is: a Python with all modules in one place.

    bin/spegel              the interpreter
    lib/                    the libraries that it and its modules need, but for glibc's
    lib/python3.11/         the standard library, the wheels' modules and the daemon, as byte code

Python finds its modules relative to ``bin/``, so that the tree can lie anywhere.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

DISTRIBUTION = "gardener-extension-registry-spegel"

# What a program without a screen, a compiler or tests never imports.
_UNNEEDED = {
    *("__pycache__", "site-packages", "dist-packages", "lib-dynload", "test", "tests", "unittest"),
    *("idlelib", "tkinter", "turtledemo", "turtle.py", "curses", "pydoc_data", "pydoc.py", "doctest.py"),
    *("lib2to3", "distutils", "ensurepip", "venv", "sqlite3", "dbm", "xmlrpc", "xml", "msilib"),
    *("antigravity.py", "this.py"),
}
_UNNEEDED_EXTENSIONS = (
    *("_test*", "_xx*", "xx*", "_ctypes_test*", "_tkinter*", "_curses*", "readline*", "_sqlite3*", "_dbm*"),
    *("_gdbm*", "_codecs_*", "pyexpat*", "_elementtree*", "_crypt.*", "nis*", "ossaudiodev*", "spwd*"),
    *("_uuid*",),
)
_DAEMON_DATA = ("*.css", "*.js")


def modules(program: Path) -> Path:
    """Return the directory that all modules are in."""
    return program / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"


def lay_out(program: Path, wheels: Path, daemon: Path) -> None:
    """Copy all modules, as sources."""
    target = modules(program)
    target.mkdir(parents=True)
    standard = Path(sysconfig.get_path("stdlib"))
    _copy(standard, target, (path for path in _files(standard, "*.py") if not _is_unneeded(path, standard)))
    extensions = standard / "lib-dynload"
    needed = (path for path in _files(extensions, "*.so") if not any(map(path.match, _UNNEEDED_EXTENSIONS)))
    _copy(standard, target, needed)
    _copy(wheels, target, _files(wheels, "*.py", "*.so", "*.so.*", "*.dist-info/METADATA"))
    _copy(daemon.parent, target, _files(daemon, "*.py", *_DAEMON_DATA))


def describe(program: Path, version: str, commit: str) -> None:
    """Write what the command ``version`` reads, where an installation has it (PEP 376, PEP 610)."""
    directory = modules(program) / f"{DISTRIBUTION.replace('-', '_')}-{version}.dist-info"
    directory.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: {version}\n"
    (directory / "METADATA").write_text(metadata)
    origin = {"url": "", "vcs_info": {"vcs": "git", "commit_id": commit}}
    (directory / "direct_url.json").write_text(json.dumps(origin))


def compile_modules(program: Path) -> None:
    """Replace all sources by byte code, which is the same for the same sources wherever it is made."""
    target = modules(program)
    command = [sys.executable, "-I", "-m", "compileall", "-q", "-b", "-s", str(target), str(target)]
    command += ["--invalidation-mode", "unchecked-hash"]
    subprocess.run(command, check=True, env={"PATH": os.environ["PATH"], "PYTHONHASHSEED": "0"})
    for source in target.rglob("*.py"):
        source.unlink()


def strip(program: Path) -> None:
    """Remove from all libraries what only debuggers read."""
    subprocess.run(["strip", "--strip-unneeded", *map(str, shared_objects(program))], check=True)


def shared_objects(program: Path) -> list[Path]:
    """Return all libraries and extension modules."""
    return sorted({*program.rglob("*.so"), *program.rglob("*.so.*")})


def _files(directory: Path, *patterns: str) -> list[Path]:
    return sorted({path for pattern in patterns for path in directory.rglob(pattern)})


def _is_unneeded(path: Path, root: Path) -> bool:
    parts = path.relative_to(root).parts
    # _sysconfigdata says how Python was built, paths included.
    return not _UNNEEDED.isdisjoint(parts) or parts[0].startswith(("config-", "_sysconfigdata"))


def _copy(root: Path, target: Path, files: Iterable[Path]) -> None:
    for file in files:
        copy = target / file.relative_to(root)
        if copy.exists():
            raise FileExistsError(f"two modules have the path {file.relative_to(root)}")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
