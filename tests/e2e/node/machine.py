"""A node: a machine with its own /etc, /opt, /run and /var/lib, a service manager, and a real containerd."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.daemon.clients.programs import program
from tests.e2e.network import CommandError, Machine
from tests.e2e.node.changes import CONTAINERD
from tests.e2e.node.systemd import Systemd
from tests.e2e.process import Process, wait_until
from tests.integration.containerd import cri

CERTS_D = "/etc/containerd/certs.d"
_OWN = ("/etc", "/opt", "/run", "/var/lib")
_MANIFEST_SIZE = 64 * 1024
_PULL_LIMIT = 240.0
"""Seconds; only broken programs need them, but a GiB to unpack takes a while on a slow disk."""


class Node:
    """A node as an OS image brings it: containerd runs, and nothing of Gardener's is there.

    Args:
        machine: what it is made on.
        directory: an empty one, for what is the node's own.
        names: addresses by host name.
        authority: file with a certificate (PEM) that it trusts beside those that all the world trusts.
        logs: where the directory with the logs of its units is made.
    """

    def __init__(
        self, machine: Machine, directory: Path, *, names: Mapping[str, str], authority: Path, logs: Path
    ) -> None:
        self.machine = machine
        self._root = directory
        for inside in _OWN:
            self.path(inside).mkdir(parents=True)
        self._write_etc(names, authority)
        self._mount()
        self.snapshotter = "overlayfs" if self._has_overlays() else "native"
        log = logs / machine.name
        log.mkdir(parents=True)
        self.systemd = Systemd(self, log)
        try:
            self._write_containerd()
            self.systemd.enable(CONTAINERD)
            self.systemd.boot()
        except BaseException:
            self.systemd.close()
            raise

    @property
    def name(self) -> str:
        """Its host name."""
        return self.machine.name

    @property
    def address(self) -> str:
        """Its address."""
        return self.machine.address

    def path(self, inside: str) -> Path:
        """Return where one of its own files is to be found here."""
        return self._root / inside.lstrip("/")

    def start(
        self, command: Sequence[str | Path], log: Path, *, environment: Mapping[str, str] | None = None
    ) -> Process:
        """Start a program on it."""
        return self.machine.start(command, log, environment=environment)

    @property
    def socket(self) -> Path:
        """containerd's socket."""
        return self.path("/run/containerd/containerd.sock")

    def pull(self, image: str, *, user: str = "", password: str = "") -> None:
        """Pull an image as the kubelet does, which waits until the CRI is ready.

        Raises:
            grpclib.GRPCError: containerd could not.
        """
        wait_until(lambda: cri.is_ready(self.socket), f"the CRI of {self.name}")
        cri.pull(self.socket, image, user=user, password=password, limit=_PULL_LIMIT)

    def remove(self, image: str) -> None:
        """Remove an image as the kubelet's garbage collection does."""
        cri.remove(self.socket, image)

    def pull_with_ctr(self, image: str, *, namespace: str = "k8s.io") -> str:
        """Pull an image with ctr; return what it printed.

        Raises:
            CommandError: containerd could not; the message has its reason.
        """
        return self.ctr(
            "images", "pull", "--hosts-dir", CERTS_D, *self._snapshots, image, namespace=namespace
        )

    def take_out(self, image: str, file: str) -> bytes:
        """Pull an image and return one file of it.

        Raises:
            CommandError: it could not be pulled, or is not there.
        """
        self.pull_with_ctr(image, namespace="default")
        mounted = "/run/image"
        self.machine.run("mkdir", "-p", mounted)
        self.ctr("images", "mount", *self._snapshots, image, mounted, namespace="default")
        try:
            # The mount is the machine's: only a process there sees it.
            self.machine.run("cp", f"{mounted}/{file.lstrip('/')}", "/run/file")
            return self.path("/run/file").read_bytes()
        finally:
            self.path("/run/file").unlink(missing_ok=True)
            self.ctr("images", "unmount", "--rm", mounted, namespace="default")

    def contents(self, image: str) -> list[str]:
        """Return the digests of an image that it has: what its name stands for, and all below."""
        (line,) = self.ctr("images", "ls", f"name=={image}").splitlines()[1:]
        digests = [line.split()[2]]
        for digest in digests:
            blob = self.path(
                f"/var/lib/containerd/io.containerd.content.v1.content/blobs/{digest.replace(':', '/')}"
            )
            if blob.exists() and blob.stat().st_size < _MANIFEST_SIZE:
                below = re.findall(rb'"digest": *"(sha256:[0-9a-f]{64})"', blob.read_bytes())
                digests += [name.decode() for name in below if name.decode() not in digests]
        return sorted(self.blobs() & set(digests))

    def blobs(self) -> set[str]:
        """Return the digests of the content that containerd has for the kubelet."""
        return set(self.ctr("content", "ls", "--quiet").split())

    def ctr(self, *arguments: str | Path, namespace: str = "k8s.io") -> str:
        """Run ctr; return what it prints."""
        return self.machine.run(_ctr(), "--namespace", namespace, *arguments, limit=_PULL_LIMIT)

    def default_config(self) -> str:
        """Return the config.toml that containerd writes, with the snapshotter that works here."""
        return self.machine.run(_containerd(), "config", "default").replace("overlayfs", self.snapshotter)

    def power_off(self) -> None:
        """Lose it all at once: nobody on the network hears of it."""
        with self.systemd.losing():
            self.machine.kill()

    def boot(self) -> None:
        """Start it again with the files that it had; all that is enabled is started."""
        self.machine.boot()
        shutil.rmtree(self.path("/run"))
        self.path("/run").mkdir()
        self._mount()
        self.systemd.boot()

    def close(self) -> None:
        """End it."""
        self.systemd.close()
        self.machine.kill()

    @property
    def _snapshots(self) -> tuple[str, str]:
        return "--snapshotter", self.snapshotter

    def _write_etc(self, names: Mapping[str, str], authority: Path) -> None:
        shutil.copytree("/etc", self.path("/etc"), symlinks=True, dirs_exist_ok=True)
        for inside in ("/etc/containerd", "/etc/systemd"):
            shutil.rmtree(self.path(inside), ignore_errors=True)
        lines = {"localhost": "127.0.0.1", self.name: self.address, **names}
        self.path("/etc/hosts").write_text("".join(f"{address} {name}\n" for name, address in lines.items()))
        with self.path("/etc/ssl/certs/ca-certificates.crt").open("a") as bundle:
            bundle.write(authority.read_text())

    def _write_containerd(self) -> None:
        """Have containerd's unit as Debian has it, for the containerd that the environment may name."""
        directory = self.path("/etc/systemd/system")
        directory.mkdir(parents=True)
        unit = Path("/lib/systemd/system") / CONTAINERD
        (directory / CONTAINERD).write_text(unit.read_text().replace("/usr/bin/containerd", _containerd()))
        if self.snapshotter != "overlayfs":
            self.path("/etc/containerd").mkdir(exist_ok=True)
            self.path("/etc/containerd/config.toml").write_text(self.default_config())

    def _mount(self) -> None:
        for inside in _OWN:
            self.machine.run("mount", "--bind", self.path(inside), inside)

    def _has_overlays(self) -> bool:
        """Tell whether overlays can be mounted on the file system that the node's files are on."""
        for name in ("lower", "upper", "work", "merged"):
            self.machine.run("mkdir", "-p", f"/var/lib/overlay/{name}")
        options = "lowerdir=lower,upperdir=upper,workdir=work"
        script = f"cd /var/lib/overlay && mount -t overlay -o {options} overlay merged && umount merged"
        try:
            self.machine.run("sh", "-c", script)
        except CommandError:
            return False
        finally:
            shutil.rmtree(self.path("/var/lib/overlay"))
        return True


def _containerd() -> str:
    return program(os.environ.get("CONTAINERD") or "containerd")


def _ctr() -> str:
    return program(os.environ.get("CTR") or str(Path(_containerd()).with_name("ctr")))
