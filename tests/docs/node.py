"""A node of a shoot, and another one that has an image: what the commands for nodes run on.

A machine as in the end-to-end tests, with a containerd and with the files, flags and certificates that
webhook and controller make. What a node has and it has not is systemd, see ``stand_ins.systemctl``.
"""

from __future__ import annotations

import base64
import contextlib
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomlkit
import yaml

from controller.certificates.keeping import renew
from controller.certificates.model import EMPTY
from controller.certificates.rotation import Rotation
from tests.daemon.containerd import require_containerd
from tests.daemon.images import make_image
from tests.daemon.layouts import lay_out
from tests.docs.machine import mount_own_files
from tests.docs.markdown import ROOT
from tests.e2e.network import Machine, network
from tests.e2e.process import Process, wait_until
from tests.integration.containerd.node import apply_plugins, write_certs_d
from webhook.mutation import Bootstrap, NodeContext, Ports, mutate
from webhook.mutation.model import Program
from webhook.patched import patched

IMAGE = "registry.example.com/team/app:1.0"
_HOST = "sp-local--spegel.ingress.local.seed.local.gardener.cloud"
_SECRET = "registry-spegel-bootstrap"
_NODE, _PEER, _BOOTSTRAPPER = 21, 22, 23
_FIGURES = "/var/lib/node-exporter/textfile-collector/spegel.prom"
_STAND_INS = {"PYTHONPATH": str(ROOT)}


@contextlib.contextmanager
def node(directory: Path) -> Iterator[Machine]:
    """Run it."""
    require_containerd()
    with network() as net, contextlib.ExitStack() as ending:
        others = net.machine("others", _PEER, _BOOTSTRAPPER)
        machine = net.machine("node", _NODE)
        certificates = renew(
            EMPTY, organization="shoot--local--spegel", host=_HOST, rotation=Rotation(), now=datetime.now(UTC)
        )
        bootstrapper = _bootstrapper(others, dict(certificates.server), directory)
        ending.callback(bootstrapper.stop)
        ending.callback(_peer(others, directory).stop)
        mount_own_files(machine, directory / "overlay")
        _apply(machine, _configuration(), dict(certificates.client))
        with _path(machine, "/etc/hosts").open("a") as hosts:
            hosts.write(f"10.79.0.{_BOOTSTRAPPER} {_HOST}\n")
        containerd = machine.start(["containerd"], directory / "containerd.log")
        ending.callback(containerd.stop)
        bootstrapper.wait_for_line("Booting worker")
        containerd.wait_for_line("containerd successfully booted")
        systemctl = "/opt/bin/systemctl"
        _be_patient(machine)
        machine.run(systemctl, "start", "spegel")
        ask = (
            "curl --silent --output /dev/null --write-out '%{http_code}' http://localhost:5000/readyz || true"
        )
        wait_until(lambda: machine.run("sh", "-c", ask) == "200", "the daemon's readiness")
        machine.run(systemctl, "start", "spegel-metrics")
        wait_until(_path(machine, _FIGURES).exists, "the node's figures")
        ending.callback(machine.run, systemctl, "stop", "spegel-metrics", "spegel")
        yield machine


def _path(machine: Machine, path: str) -> Path:
    """Where a file of a machine is to be found here."""
    return Path(f"/proc/{machine.pid}/root{path}")


def _configuration() -> dict[str, Any]:
    """An OperatingSystemConfig as the webhook leaves it."""
    osc = yaml.safe_load((ROOT / "tests/samples/osc-plain.yaml").read_text())
    context = NodeContext(
        Ports(5000, 5001, 9090),
        resolve_tags=True,
        program=Program("registry.example.com/spegel:0.1.0", "/spegel", 30),
        bootstrap=Bootstrap(f"https://{_HOST}/bootstrap-nodes", _SECRET),
    )
    configuration: dict[str, Any] = patched(osc, mutate(osc, context).patch)
    return configuration


def _apply(machine: Machine, osc: dict[str, Any], secret: dict[str, bytes]) -> None:
    """Do what gardener-node-agent does with the part of it that is this project's."""
    certs_d = _path(machine, "/etc/containerd/certs.d")
    certs_d.mkdir(parents=True)
    write_certs_d(osc, certs_d)
    config = tomlkit.parse(machine.run("containerd", "config", "default")).unwrap()
    apply_plugins(osc, config)
    for name in ("io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"):
        if images := config["plugins"].get(name):
            images.setdefault("registry", {})["config_path"] = "/etc/containerd/certs.d"
    _path(machine, "/etc/containerd/config.toml").write_text(tomlkit.dumps(config))
    for file in osc["spec"]["files"]:
        if "spegel" not in file["path"]:
            continue
        path = _path(machine, file["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        match file["content"]:
            case {"inline": {"data": str(data)}}:
                path.write_bytes(base64.b64decode(data))
            case {"secretRef": {"dataKey": str(key)}}:
                path.write_bytes(secret[key])
            case {"imageRef": _}:
                path.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec "{sys.executable}" -m daemon "$@"\n')
        path.chmod(file["permissions"])
    for unit in osc["spec"]["units"]:
        if unit["name"].startswith("spegel"):
            _path(machine, f"/etc/systemd/system/{unit['name']}").write_text(unit["content"])
    for name in ("systemctl", "journalctl"):
        program = _path(machine, f"/opt/bin/{name}")
        program.write_text(
            f'#!/bin/sh\nPYTHONPATH={ROOT} exec "{sys.executable}" -m tests.docs.stand_ins.{name} "$@"\n'
        )
        program.chmod(0o755)


def _be_patient(machine: Machine) -> None:
    """Let searches take longer than 20 ms, which say nothing where tests run side by side."""
    drop_in = _path(machine, "/etc/systemd/system/spegel.service.d/patience.conf")
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text("[Service]\nEnvironment=MIRROR_RESOLVE_TIMEOUT=2s\n")


def _bootstrapper(machine: Machine, files: dict[str, bytes], directory: Path) -> Process:
    for name, data in files.items():
        (directory / name).write_bytes(data)
    nodes = [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": f"pool-{number}"},
            "status": {
                "addresses": [{"type": "InternalIP", "address": f"10.79.0.{number}"}],
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }
        for number in (_NODE, _PEER)
    ]
    (directory / "nodes.yaml").write_text(yaml.safe_dump(nodes))
    flags = [
        f"--nodes-file={directory}/nodes.yaml",
        f"--address=10.79.0.{_BOOTSTRAPPER}",
        "--port=443",
        f"--tls-certificate={directory}/tls.crt",
        f"--tls-key={directory}/tls.key",
        f"--client-authorities={directory}/ca.crt",
    ]
    command = [sys.executable, "-m", "bootstrapper", "serve", *flags]
    return machine.start(command, directory / "bootstrapper.log", environment=dict(os.environ) | _STAND_INS)


def _peer(machine: Machine, directory: Path) -> Process:
    layout = directory / "images"
    lay_out(layout, {IMAGE: make_image(1, pullable=True, large=2**20)})
    flags = [
        f"--{name}-addr=10.79.0.{_PEER}:{port}"
        for name, port in (("registry", 5000), ("router", 5001), ("metrics", 9090))
    ]
    command = [
        sys.executable,
        "-m",
        "daemon",
        "registry",
        "--bootstrap-kind=static",
        f"--oci-layout={layout}",
    ]
    return machine.start(
        [*command, *flags], directory / "peer.log", environment=dict(os.environ) | _STAND_INS
    )
