"""What the program is made of, by origin: Python, wheels with what is in them, Debian's libraries."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import subprocess
import sysconfig
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

_DEBIAN_DOCUMENTS = Path("/usr/share/doc")


@dataclass(frozen=True)
class Part:
    """Something with a version and a licence of its own."""

    name: str
    version: str
    purl: str
    """Package URL, which vulnerability databases know it by."""
    licence: str
    """SPDX expression, or what its makers call it."""
    texts: tuple[str, ...] = ()
    """The licence in full."""
    within: tuple[dict[str, Any], ...] = field(default=(), hash=False)
    """What is compiled into it, as the CycloneDX components that its makers name (PEP 770)."""


def find(wheels: Path, libraries: list[Path]) -> list[Part]:
    """Return all parts, by name.

    Args:
        wheels: a directory that wheels were unpacked to.
        libraries: shared libraries of this machine.
    """
    distributions = metadata.distributions(path=[str(wheels)])
    found = [_python(), *map(_wheel, distributions), *map(_library, libraries)]
    by_purl = {part.purl: part for part in found}
    return sorted(by_purl.values(), key=lambda part: (part.name.lower(), part.version))


def _python() -> Part:
    version = platform.python_version()
    text = Path(sysconfig.get_path("stdlib"), "LICENSE.txt")
    return Part("python", version, f"pkg:generic/python@{version}", "Python-2.0.1", _read([text]))


def _wheel(distribution: metadata.Distribution) -> Part:
    name = re.sub(r"[-_.]+", "-", distribution.name).lower()  # PEP 503
    files = {str(file): Path(str(file.locate())) for file in distribution.files or ()}
    texts = [path for file, path in sorted(files.items()) if _is_licence(file)]
    return Part(
        name,
        distribution.version,
        f"pkg:pypi/{name}@{distribution.version}",
        _licence(distribution),
        _read(texts),
        tuple(
            component
            for file, path in sorted(files.items())
            if re.search(r"\.dist-info/sboms/.*\.json$", file)
            for component in json.loads(path.read_text()).get("components", ())
        ),
    )


def _licence(distribution: metadata.Distribution) -> str:
    # Old metadata may hold a whole text, which begins with the licence's name.
    fields = distribution.metadata.json
    return str(fields.get("license_expression") or fields.get("license")).strip().splitlines()[0]


def _is_licence(file: str) -> bool:
    return re.search(r"\.dist-info/(.*/)?(LICEN[CS]E|COPYING|NOTICE)[^/]*$", file) is not None


def _library(path: Path) -> Part:
    """Return the Debian package that a library is from; else Python's own, else the library alone."""
    if path.name.startswith("libpython"):
        return _python()
    for spelling in dict.fromkeys((path, path.resolve(), Path("/usr", path.relative_to("/")))):
        result = _dpkg("--search", str(spelling))
        if result is not None:
            package = result.partition(":")[0]
            version = _dpkg("--status", package, field="Version")
            source = _DEBIAN_DOCUMENTS / package / "copyright"
            purl = f"pkg:deb/debian/{package}@{quote(version or '')}"
            return Part(package, version or "unknown", purl, "see its text", _read([source]))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Part(path.name, "unknown", f"pkg:generic/{path.name}?checksum=sha256:{digest}", "unknown")


def _dpkg(action: str, name: str, *, field: str | None = None) -> str | None:
    try:
        result = subprocess.run(["dpkg", action, name], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    if field is None:
        return result.stdout
    found = re.search(rf"^{field}: (.*)$", result.stdout, re.MULTILINE)
    return found[1] if found else None


def _read(paths: list[Path]) -> tuple[str, ...]:
    return tuple(path.read_text(errors="replace").strip() for path in paths if path.exists())
