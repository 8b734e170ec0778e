"""``python -m tests.e2e.packages``: install what these tests need of Debian, where that may be done."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

PACKAGES = (
    "containerd",
    "docker-registry",
    "iproute2",
    "libnginx-mod-stream",
    "nginx-light",
    "prometheus-node-exporter",
    "skopeo",
    "util-linux",
)


def main() -> None:
    """Install what is missing; say so in one line where that is not possible, and leave it to the tests."""
    if not shutil.which("dpkg-query"):
        sys.stdout.write("no Debian: the tests look themselves for the programs that they need\n")
        return
    absent = [package for package in PACKAGES if not _is_installed(package)]
    if not absent:
        return
    if os.geteuid():
        sys.stdout.write(f"not root, so please: apt-get install --no-install-recommends {' '.join(absent)}\n")
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update"], check=False, env=environment)
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *absent]
    subprocess.run(command, check=False, env=environment)


def _is_installed(package: str) -> bool:
    command = ["dpkg-query", "--show", "--showformat", "${db:Status-Status}", package]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout == "installed"


if __name__ == "__main__":
    main()
