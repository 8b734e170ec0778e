"""A containerd of the test's own: started, asked to pull, stopped."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import tomllib
from pathlib import Path
from typing import Any, BinaryIO

import tomlkit

from tests.integration.containerd import cri
from tests.integration.containerd.image import ARCHITECTURE

START_TIMEOUT = 60.0
PULL_TIMEOUT = 60.0


class CommandError(Exception):
    """A command of containerd failed; the message is what it wrote to stderr."""


class Containerd:
    """A containerd with config, root, state and socket in one directory.

    The snapshotter is ``native``: it works on any file system.
    """

    def __init__(self, program: str, ctr: str, directory: Path) -> None:
        self.program = program
        self.ctr = ctr
        self.directory = directory
        self.certs_d = directory / "certs.d"
        self.socket = directory / "containerd.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_first_generation(self) -> bool:
        """Tell whether it is a containerd 1, which orders the hosts of a file in another way than 2."""
        return " 1." in self._run(self.program, "--version")

    def default_config(self) -> dict[str, Any]:
        return tomllib.loads(self._run(self.program, "config", "default"))

    def dump_config(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return a config.toml as containerd understands it."""
        path = self.directory / "dump.toml"
        path.write_text(tomlkit.dumps(config))
        return tomllib.loads(self._run(self.program, "--config", str(path), "config", "dump"))

    def start(self, config: dict[str, Any]) -> None:
        """Start it and wait until it is ready."""
        plugins = config["plugins"]
        plugins["io.containerd.internal.v1.opt"] = {"path": str(self.directory / "opt")}
        if config["version"] >= 3:
            images = plugins["io.containerd.cri.v1.images"]
            images["snapshotter"] = "native"
            unpack = {"platform": f"linux/{ARCHITECTURE}", "snapshotter": "native"}
            plugins["io.containerd.transfer.v1.local"]["unpack_config"] = [unpack]
        else:
            images = plugins["io.containerd.grpc.v1.cri"]
            images["containerd"]["snapshotter"] = "native"
        images["registry"] = {"config_path": str(self.certs_d)}
        config_path = self.directory / "config.toml"
        config_path.write_text(tomlkit.dumps(config))
        self.certs_d.mkdir()

        with (self.directory / "containerd.log").open("w+b") as log:
            if not self._launch(config_path, log):
                self.stop()
                log.seek(0)
                raise RuntimeError(f"containerd did not start:\n{log.read().decode()}")

    def _launch(self, config_path: Path, log: BinaryIO) -> bool:
        """Start the process; wait for its notification of systemd, or its end."""
        address = self.directory / "notify.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(address))
            self._process = subprocess.Popen(
                [
                    *(self.program, "--config", str(config_path), "--address", str(self.socket)),
                    *("--root", str(self.directory / "root"), "--state", str(self.directory / "state")),
                ],
                stdout=log,
                stderr=log,
                env=os.environ | {"NOTIFY_SOCKET": str(address)},
            )
            ended = os.pidfd_open(self._process.pid)
            events: list[socket.socket | int] = [notify, ended]
            try:
                ready, _, _ = select.select(events, [], [], START_TIMEOUT)
            finally:
                os.close(ended)
            return notify in ready and b"READY=1" in notify.recv(4096)

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def pull_with_ctr(self, image: str) -> None:
        """Pull an image with ctr, which reads certs.d itself.

        Raises:
            CommandError: it could not be pulled.
        """
        self._ctr("images", "pull", "--snapshotter", "native", "--hosts-dir", str(self.certs_d), image)

    def pull_with_cri(self, image: str) -> None:
        """Pull an image as the kubelet does.

        Raises:
            grpclib.GRPCError: it could not be pulled.
        """
        cri.pull(self.socket, image, limit=PULL_TIMEOUT)

    def blobs(self, namespace: str) -> list[str]:
        """Return the digests of the content store."""
        return self._ctr("--namespace", namespace, "content", "ls", "--quiet").split()

    def _ctr(self, *arguments: str) -> str:
        return self._run(self.ctr, "--address", str(self.socket), *arguments)

    def _run(self, *command: str) -> str:
        result = subprocess.run(command, capture_output=True, text=True, timeout=PULL_TIMEOUT, check=False)
        if result.returncode:
            raise CommandError(f"{' '.join(command)}: {result.stderr.strip()}")
        return result.stdout
