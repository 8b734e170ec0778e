"""``spegel version``."""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib import metadata

from daemon.cli.commands import Version

DISTRIBUTION = "gardener-extension-registry-spegel"
_LIBRARIES = ("cryptography", "grpclib", "h2", "httptools", "prometheus-client", "protobuf")


def version_text(command: Version) -> str:
    """Return what this program is made of, as text to print."""
    if command.format == "json":
        document = {
            "build": {"version": version(), "commit": _commit(), "pythonVersion": platform.python_version()},
            "runtime": {"distro": _distro(), "os": sys.platform, "arch": os.uname().machine},
            "libraries": _libraries(),
        }
        return f"{json.dumps(document)}\n"
    libraries = ", ".join(f"{name} {number}" for name, number in _libraries().items())
    first = f"spegel version {version()} {_commit()}".rstrip()
    return f"{first}\nPython {platform.python_version()}, {libraries}\n"


def version() -> str:
    """Return the distribution's version, ``devel`` when the program was not installed."""
    return _version_of(DISTRIBUTION) or "devel"


def _libraries() -> dict[str, str]:
    found = {name: _version_of(name) for name in _LIBRARIES}
    return {name: number for name, number in found.items() if number}


def _version_of(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    """Return the commit that was installed, empty when it came from no repository (PEP 610)."""
    try:
        text = metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return ""
    origin = json.loads(text or "{}")
    return str(origin.get("vcs_info", {}).get("commit_id", ""))


def _distro() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")
    except OSError:
        return "unknown"
