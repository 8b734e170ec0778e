"""The two C programs: what is started, and the interpreter that it becomes."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from pathlib import Path

from binary.archive import Archive

_SOURCES = Path(__file__).parent
_OPTIONS = ("-O2", "-s", "-Wall", "-Wextra", "-Werror")


class CompilerError(Exception):
    """gcc is missing or refuses; the message says why."""


def compile_launcher(packed: Archive, output: Path) -> None:
    """Make the self-extracting program of an archive.

    Raises:
        CompilerError: that is not possible.
    """
    digest = hashlib.sha256(packed.listing + packed.content).hexdigest()[:32]
    with tempfile.TemporaryDirectory() as directory:
        listing, content = Path(directory, "listing"), Path(directory, "content")
        listing.write_bytes(packed.listing)
        content.write_bytes(packed.content)
        values = {"HASH": digest, "LISTING": listing, "CONTENT": content}
        definitions = [f'-D{name}="{value}"' for name, value in values.items()]
        _gcc("launcher.c", *definitions, "-l:libz.a", output=output)


def compile_interpreter(library: Path, output: Path) -> None:
    """Make Python's main program, to run with a Python's shared library.

    Raises:
        CompilerError: that is not possible.
    """
    _gcc("interpreter.c", str(library), output=output)


def _gcc(source: str, *arguments: str, output: Path) -> None:
    command = ["gcc", *_OPTIONS, "-o", str(output), str(_SOURCES / source), *arguments]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise CompilerError("gcc is not installed (Debian: gcc libc6-dev zlib1g-dev)") from error
    if result.returncode:
        raise CompilerError(f"gcc refuses {source}:\n{result.stderr}")
