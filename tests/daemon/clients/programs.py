"""Debian's programs that the daemon has to please, as processes on loopback."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.daemon.cli.program import LIMIT, free_port
from tests.daemon.images import TestImage, make_image
from tests.daemon.layouts import lay_out
from tests.integration.containerd.containerd import Containerd

REPOSITORY = "team/app"


def program(name: str) -> str:
    """Return the path of a program; skip the test, or fail where CI=true, when it is not installed."""
    found = shutil.which(name)
    if found is None:
        missing(f"{name} is not installed (Debian has a package of that name)")
    return found


def missing(message: str) -> NoReturn:
    """Skip the test; fail it where CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def run(*command: str | Path) -> str:
    """Run a program to its end and return what it prints."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, f"{command}: {result.stderr}"
    return result.stdout


def skopeo_copy(source: str, target: str, *flags: str) -> None:
    """Copy an image, all of it and as it is."""
    insecure = ("--src-tls-verify=false", "--dest-tls-verify=false")
    command = (program("skopeo"), "--insecure-policy", "copy", "--all", "--preserve-digests")
    run(*command, *insecure, *flags, source, target)


def tag(image: TestImage) -> str:
    """Return a tag that is this image's only."""
    return f"v{image.index[7:19]}"


class Upstream:
    """The registry that images are from: docker-registry."""

    def __init__(self, directory: Path, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self._directory = directory

    def name(self, image: TestImage) -> str:
        """Return the full name of an image."""
        return f"{self.address}/{REPOSITORY}:{tag(image)}"

    def push(self, image: TestImage) -> None:
        """Publish an image, with skopeo."""
        layout = self._directory / tag(image)
        lay_out(layout, {self.name(image): image})
        skopeo_copy(f"oci:{layout}", f"docker://{self.name(image)}")

    def asked(self) -> list[tuple[str, str, int]]:
        """Return method, path with query and status of all requests by containerd so far."""
        lines = (self._directory / "log").read_text().splitlines()
        found = []
        for line in lines:
            if '"containerd/' in line and " HTTP/1.1" in line:
                _, request, rest, *_ = line.split('"')
                method, path, _ = request.split(" ")
                found.append((method, path, int(rest.split()[0])))
        return found


def new_image(registry: Upstream) -> TestImage:
    """Publish an index, a manifest, a config and four layers; one is larger than all buffers on its way."""
    seed = random.SystemRandom().getrandbits(64)
    image = make_image(seed, layers=3, large=40 * 2**20, pullable=True)
    registry.push(image)
    return image


@contextlib.contextmanager
def upstream(directory: Path) -> Iterator[Upstream]:
    """Run docker-registry."""
    port = free_port()
    configuration = directory / "config.yml"
    configuration.write_text(
        f"version: 0.1\nlog: {{level: error}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n"
        f"storage: {{filesystem: {{rootdirectory: '{directory}/storage'}}, delete: {{enabled: true}}}}\n"
    )
    command = [program("docker-registry"), "serve", configuration]
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        answers(f"http://127.0.0.1:{port}/v2/", process)
        yield Upstream(directory, port)
    finally:
        process.terminate()
        process.wait(LIMIT)


def answers(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server that was just started answers."""
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            urllib.request.urlopen(url, timeout=LIMIT).close()
        except urllib.error.URLError:
            assert process.poll() is None, f"{process.args} has ended"
            assert time.monotonic() < deadline, f"{process.args} does not answer"
            time.sleep(0.02)
        else:
            return


def flags_of(machine: Containerd) -> dict[str, Any]:
    """Return the flags of a daemon beside a containerd."""
    content = machine.directory / "root" / "io.containerd.content.v1.content"
    return {"containerd_sock": str(machine.socket), "containerd_content_path": str(content)}


def mirror_through(machine: Containerd, registry: Upstream, *hosts: str, server: str | None = None) -> None:
    """Have containerd ask hosts before the registry, or before another server in its place."""
    path = machine.certs_d / registry.address / "hosts.toml"
    path.parent.mkdir(exist_ok=True)
    tables = [f'[host."http://{host}"]\ncapabilities = ["pull", "resolve"]\n' for host in hosts]
    path.write_text(f'server = "http://{server or registry.address}"\n' + "".join(tables))
