"""Nodes of a cluster: a machine with containerd and a Spegel, this one or upstream's."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from tests.daemon.containerd import Containerd
from tests.daemon.images import TestImage
from tests.interop.namespaces import Machine

ROOT = Path(__file__).parents[2]
LIMIT = 60.0
"""Seconds for whatever is waited for; only a broken program needs them."""


class Node:
    """One node. Its Spegel can be stopped and started; what is in containerd stays."""

    def __init__(self, machine: Machine, program: list[str], directory: Path, bootstrap_url: str) -> None:
        self._machine = machine
        self._program = program
        self._directory = directory
        self._bootstrap_url = bootstrap_url
        self._process: subprocess.Popen[bytes] | None = None
        (directory / "data").mkdir(parents=True)
        for name in ("containerd", "ctr"):
            wrapper = directory / name
            wrapper.write_text(f'#!/bin/sh\nexec {" ".join(machine.command(name))} "$@"\n')
            wrapper.chmod(0o755)
        with mock.patch.dict(os.environ, CONTAINERD=str(directory / "containerd")):
            self.containerd = Containerd(directory)
        hosts = directory / "hosts" / "docker.io"
        hosts.mkdir(parents=True)
        mirror = '[host."http://127.0.0.1:5000"]\ncapabilities = ["pull", "resolve"]\n'
        (hosts / "hosts.toml").write_text(f'server = "http://127.0.0.1:1"\n{mirror}')

    @property
    def log(self) -> str:
        """What Spegel logged so far."""
        return (self._directory / "spegel.log").read_text()

    @property
    def pid(self) -> int:
        """Spegel's process."""
        assert self._process is not None
        return self._process.pid

    def command(self, *command: str) -> list[str]:
        """Return a command that runs on this node."""
        return self._machine.command(*command)

    def start(self) -> None:
        """Start Spegel."""
        flags = [
            "registry",
            "--log-level=DEBUG",
            "--bootstrap-kind=http",
            "--http-bootstrap-addr=:5090",
            f"--http-bootstrap-url={self._bootstrap_url}",
            f"--containerd-sock={self.containerd.socket}",
            f"--containerd-content-path={self.containerd.content}",
            f"--data-dir={self._directory / 'data'}",
            "--mirror-resolve-timeout=1s",
        ]
        with (self._directory / "spegel.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._machine.command(*self._program, *flags), stdout=log, stderr=log, cwd=ROOT
            )

    def stop(self) -> None:
        """Stop it, if it runs."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(LIMIT)
            self._process = None

    def wait_until_ready(self) -> None:
        """Wait until it says that it knows others."""
        deadline = time.monotonic() + LIMIT
        while self.status("/readyz") != "200":
            assert time.monotonic() < deadline, self.log[-4000:]
            time.sleep(0.05)

    def status(self, path: str) -> str:
        """Ask its registry as containerd does, and return the status of the answer."""
        url = f"http://127.0.0.1:5000{path}"
        curl = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", url]
        return subprocess.run(
            self._machine.command(*curl), check=False, capture_output=True, text=True, timeout=LIMIT
        ).stdout

    def put(self, image: TestImage, name: str) -> None:
        """Have an image in containerd.

        While it runs, upstream passes over an image that does not come from a registry, and over all tags;
        it takes note of them when it starts.
        """
        self.containerd.ctr("images", "import", "-", stdin=image.archive(name))

    def pull(self, image: TestImage, name: str) -> None:
        """Pull an image. There is nowhere to get it from but from other nodes.

        It is tried again for a while: what others have may be told a moment later, and upstream misses peers
        that it finds while all that it found before are in use.
        """
        pull = ["images", "pull", "--hosts-dir", str(self._directory / "hosts"), name]
        deadline = time.monotonic() + LIMIT
        while True:
            try:
                self.containerd.ctr(*pull)
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                break
        for digest in (image.index, image.manifest, image.config, *image.layers):
            stored = (self.containerd.content / "blobs" / digest.replace(":", "/")).read_bytes()
            assert stored == image.blobs[digest]


OURS = [sys.executable, "-m", "daemon"]


@contextlib.contextmanager
def nodes(machines: list[Machine], programs: list[list[str]], directory: Path) -> Iterator[list[Node]]:
    """Make nodes whose containerd runs and Spegel does not yet.

    Each begins with the one before it, and the first with the last.
    """
    made = [
        Node(machine, program, directory / str(number), f"http://{machines[number - 1].host}:5090/id")
        for number, (machine, program) in enumerate(zip(machines, programs, strict=True))
    ]
    try:
        for node in made:
            node.containerd.start()
        yield made
    finally:
        for node in made:
            node.stop()
            node.containerd.stop()
