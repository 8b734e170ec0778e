"""A machine with nothing but this project and a registry: what the commands run on that take fixed ports.

``docker.io`` and ``registry.example.com`` are both that registry, for skopeo.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import yaml

from tests.daemon.images import make_image
from tests.daemon.layouts import lay_out
from tests.docs.cluster import missing
from tests.e2e.network import Machine, network

REGISTRY = "127.0.0.1:5555"
_IMAGES = {"docker.io/library/alpine:3.20": make_image(20, pullable=True)}
"""What it has."""
_NOT_VERIFIED = "--src-tls-verify=false --dest-tls-verify=false"

_OVERLAID = ("/etc", "/opt", "/var/lib")

SKOPEO = (
    "set -- $(printf '%s\\n' \"$@\" | "
    f"sed -E 's#^docker://(docker.io|registry.example.com)/#docker://{REGISTRY}/#'); "
    f'command=$1; shift; exec {{skopeo}} --insecure-policy "$command" {_NOT_VERIFIED} "$@"'
)
"""skopeo, to whom the names lead here."""


@contextlib.contextmanager
def machine(directory: Path) -> Iterator[Machine]:
    """Run it."""
    for program in ("skopeo", "docker-registry"):
        if shutil.which(program) is None:
            missing(f"{program} is not installed (Debian has a package of that name)")
    configuration = {
        "version": 0.1,
        "http": {"addr": REGISTRY},
        "storage": {"filesystem": {"rootdirectory": str(directory / "registry")}},
    }
    (directory / "registry.yml").write_text(yaml.safe_dump(configuration))
    with network() as net:
        made = net.machine("machine", 31)
        mount_own_files(made, directory / "overlay")
        server = made.start(
            ["docker-registry", "serve", directory / "registry.yml"], directory / "registry.log"
        )
        try:
            made.wait_for_port(int(REGISTRY.rpartition(":")[2]), server)
            for number, (name, image) in enumerate(_IMAGES.items()):
                layout = directory / f"image{number}"
                lay_out(layout, {name: image})
                target = f"docker://{REGISTRY}/{name.partition('/')[2]}"
                flags = ("--insecure-policy", "copy", "--all", "--dest-tls-verify=false")
                made.run("skopeo", *flags, f"oci:{layout}", target)
            yield made
        finally:
            server.stop()


def skopeo_line() -> str:
    """Return what the program ``skopeo`` is there."""
    return SKOPEO.replace("{skopeo}", json.dumps(shutil.which("skopeo")))


def mount_own_files(machine: Machine, directory: Path) -> None:
    """Let changes of its files be its own, and gone with it."""
    directory.mkdir()
    machine.run("mount", "-t", "tmpfs", "node", directory)
    for path in _OVERLAID:
        name = path.replace("/", "_")
        layers = [directory / f"{name}{kind}" for kind in ("", ".work")]
        machine.run("mkdir", *layers)
        options = f"lowerdir={path},upperdir={layers[0]},workdir={layers[1]}"
        machine.run("mount", "-t", "overlay", "node", "-o", options, path)
    for path in ("/run", "/var/lib/containerd"):
        machine.run("mkdir", "-p", path)
        machine.run("mount", "-t", "tmpfs", "node", path)
