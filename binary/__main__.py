"""``python -m binary``: build ``dist/spegel``, its bill of materials and the licences of what is in it.

Needs gcc, libc6-dev and zlib1g-dev, and a Python with a shared library (Debian: libpython3.11). The program
is made of that Python, of the wheels in requirements.lock, and of the daemon's sources.
"""

from __future__ import annotations

import argparse
import configparser
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from binary import archive, compiler, libraries, licences, parts, sbom, tree

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "binary" / "requirements.lock"
_INPUTS = ("binary", "daemon", "setup.cfg")


def main() -> None:
    """Build; exit with 1 and one line when that is not possible."""
    parser = argparse.ArgumentParser(prog="python -m binary", description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="directory for the results")
    parser.add_argument("--if-stale", action="store_true", help="do nothing when no source is newer")
    arguments = parser.parse_args()
    output: Path = arguments.output
    if arguments.if_stale and not _is_stale(output / "spegel"):
        return
    try:
        build(output)
    except (compiler.CompilerError, libraries.LibraryError) as error:
        sys.exit(f"binary: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"binary: {error.cmd[0]} failed with {error.returncode}")


def build(output: Path) -> None:
    """Build into a directory."""
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="spegel-build-") as name:
        work = Path(name)
        wheels = work / "wheels"
        _install(wheels)
        program = work / "program"
        tree.lay_out(program, wheels, ROOT / "daemon")
        tree.describe(program, version(), commit())
        (program / "bin").mkdir()
        compiler.compile_interpreter(libraries.python_library(), program / "bin" / "spegel")
        tree.compile_modules(program)
        bundled = libraries.bundle(program)
        tree.strip(program)
        packed = archive.pack(program)
        components = parts.find(wheels, bundled)
        (output / "spegel.cdx.json").write_text(sbom.document(version(), components))
        (output / "spegel.licences.txt").write_text(licences.document(components))
        compiler.compile_launcher(packed, output / "spegel")
    size = (output / "spegel").stat().st_size
    sys.stdout.write(f"{output / 'spegel'}: {size / 1e6:.1f} MB, {len(components)} parts\n")


def version() -> str:
    """Return the distribution's version."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    return setup["metadata"]["version"]


def commit() -> str:
    """Return the commit that is built, from the variable COMMIT where there is no repository.

    A commit with changes that are not committed ends in ``-dirty``.
    """
    if given := os.environ.get("COMMIT"):
        return given
    try:
        head = _git("rev-parse", "HEAD")
        changes = _git("status", "--porcelain", "--", *_INPUTS)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}-dirty" if changes else head


def _is_stale(program: Path) -> bool:
    if not program.exists():
        return True
    built = program.stat().st_mtime
    sources = [file for name in _INPUTS for file in (ROOT / name, *(ROOT / name).rglob("*"))]
    return any(file.stat().st_mtime > built for file in sources if "__pycache__" not in file.parts)


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _install(wheels: Path) -> None:
    """Unpack the wheels of the lock file, and nothing else, to a directory."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--no-compile", "--require-hashes", f"--target={wheels}", f"--requirement={LOCK}"]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
