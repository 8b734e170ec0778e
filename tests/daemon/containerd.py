"""containerd itself, with its own directories and socket, for tests that need the real one."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

_CONFIG = """
version = 2
root = "{directory}/root"
state = "{directory}/state"
disabled_plugins = [{disabled}]
[grpc]
  address = "{directory}/containerd.sock"
[ttrpc]
  address = "{directory}/ttrpc.sock"
"""
_UNNEEDED = [
    "io.containerd.grpc.v1.cri",
    "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.restart",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
]


def require_containerd() -> None:
    """Skip the test where containerd cannot run; fail instead when CI=true."""
    if shutil.which("containerd") and shutil.which("ctr") and os.geteuid() == 0:
        return
    reason = "needs root and Debian's package containerd"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


class Containerd:
    """A containerd process; ``CONTAINERD`` may name another binary, with its ctr beside it."""

    def __init__(self, directory: Path, *, cri: bool = False) -> None:
        self.socket = str(directory / "containerd.sock")
        self.content = directory / "root" / "io.containerd.content.v1.content"
        self._binary = os.environ.get("CONTAINERD", "containerd")
        self._ctr = str(Path(self._binary).with_name("ctr"))
        self._config = directory / "config.toml"
        self._log = directory / "containerd.log"
        self._process: subprocess.Popen[bytes] | None = None
        disabled = ", ".join(f'"{name}"' for name in _UNNEEDED[1 if cri else 0 :])
        self._config.write_text(_CONFIG.format(directory=directory, disabled=disabled))

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._binary, "--config", self._config], stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + 30
        probe = [self._ctr, "--address", self.socket, "version"]
        while subprocess.run(probe, check=False, capture_output=True).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"containerd does not start:\n{self._log.read_text()[-4000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it, if it runs."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def ctr(self, *arguments: str, namespace: str = "k8s.io", stdin: bytes | None = None) -> str:
        """Run ctr and return what it prints."""
        command = [self._ctr, "--address", self.socket, "--namespace", namespace, *arguments]
        result = subprocess.run(command, check=False, input=stdin, capture_output=True, timeout=60)
        assert result.returncode == 0, f"{command}: {result.stderr.decode()}"
        return result.stdout.decode()
