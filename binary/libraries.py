"""The shared libraries that a tree of files needs, as the dynamic linker finds them on this machine."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from binary import tree

# Of glibc, which comes from the node: its parts fit each other, and their kernel, only as a whole.
_GLIBC = re.compile(
    r"(ld-linux.*|linux-vdso|lib(c|m|dl|rt|util|pthread|resolv|anl|nsl|nss_\w+|BrokenLocale|thread_db))\.so.*"
)


class LibraryError(Exception):
    """A library is not to be found; the message names it."""


def python_library() -> Path:
    """Return the library that this Python is.

    Raises:
        LibraryError: it is not installed.
    """
    name = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
    directories = [Path(str(sysconfig.get_config_var("LIBDIR")))]
    if multiarch := sysconfig.get_config_var("MULTIARCH"):
        directories.append(Path("/usr/lib") / str(multiarch))
    for directory in directories:
        if (directory / name).exists():
            return directory / name
    raise LibraryError(f"{name} is not installed: this Python has no shared library")


def bundle(program: Path) -> list[Path]:
    """Copy the libraries that the interpreter and all extension modules need; return where they were.

    Raises:
        LibraryError: one of them cannot be found.
    """
    found = {
        library
        for file in [program / "bin" / "spegel", *tree.shared_objects(program)]
        for library in _needs(file)
        if not library.is_relative_to(program)
    }
    for library in sorted(found):
        shutil.copyfile(library, program / "lib" / library.name)
    return sorted(found)


def _needs(file: Path) -> list[Path]:
    command = ["ldd", str(file)]
    directory = str(python_library().parent)
    result = subprocess.run(
        command, check=True, capture_output=True, text=True, env={"LD_LIBRARY_PATH": directory, "LC_ALL": "C"}
    )
    needed = re.findall(r"^\s*(\S+) => (.+?)(?: \(0x\w+\))?$", result.stdout, re.MULTILINE)
    if missing := [name for name, path in needed if path == "not found"]:
        raise LibraryError(f"{', '.join(missing)}: not found, {file.name} needs it")
    return [Path(path) for name, path in needed if not _GLIBC.fullmatch(name)]
