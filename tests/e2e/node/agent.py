"""gardener-node-agent in small: makes a node what an OperatingSystemConfig says.

Written after pkg/nodeagent/controller/operatingsystemconfig of Gardener 1.150, in its order. Not here:
updates in place, its own restart, and trying again what has failed, which is left to the caller.
"""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tomlkit

from tests.e2e.network import CommandError
from tests.e2e.node.changes import CONTAINERD, Changes, Item, containerd
from tests.e2e.node.machine import CERTS_D, Node
from tests.e2e.node.systemd import JobError
from tests.e2e.node.unit import UnitError
from tests.e2e.process import wait_until
from tests.integration.containerd.node import apply_plugins, hosts_toml

LAST_APPLIED = "/var/lib/gardener-node-agent/last-applied-osc.yaml"
_UNITS = "/etc/systemd/system"
_CONFIG = "/etc/containerd/config.toml"
_IMPORTS = "/etc/containerd/conf.d/*.toml"
_PRIVATE = 0o600
_PROBE_LIMIT = 180.0
"""Seconds; what the agent gives a whole reconciliation."""


class AgentError(Exception):
    """A step failed, and those after it were not taken; the message says which and why."""


def apply(node: Node, osc: dict[str, Any]) -> None:
    """Apply an OperatingSystemConfig whose secretRefs have been replaced by what they refer to.

    Raises:
        AgentError: a step failed.
    """
    _configure_containerd(node, osc)
    changes = Changes(_last_applied(node), osc, node.name)
    for file in changes.files:
        if "imageRef" not in file["content"]:
            _write(node, file, _content(file))
    for entry in changes.registries:
        if not changes.is_probed(entry):
            _write_registry(node, entry)
    for file in changes.files:
        if reference := file["content"].get("imageRef"):
            with _step(f"cannot take {file['path']} out of {reference['image']}"):
                _write(node, file, node.take_out(reference["image"], reference["filePathInImage"]))
    for unit in changes.units:
        _write_unit(node, unit)
    for unit in changes.deleted_units:
        _remove_unit(node, unit)
    node.systemd.reload()
    _run_commands(node, changes)
    for entry in changes.registries:
        if changes.is_probed(entry):
            _probe(node, entry)
            _write_registry(node, entry)
    for entry in changes.deleted_registries:
        shutil.rmtree(node.path(f"{CERTS_D}/{entry['upstream']}"), ignore_errors=True)
    for file in changes.deleted_files:
        node.path(file["path"]).unlink(missing_ok=True)
    last = node.path(LAST_APPLIED)
    last.parent.mkdir(parents=True, exist_ok=True)
    last.write_text(json.dumps(osc))


def _last_applied(node: Node) -> dict[str, Any] | None:
    path = node.path(LAST_APPLIED)
    return dict(json.loads(path.read_text())) if path.exists() else None


def _configure_containerd(node: Node, osc: dict[str, Any]) -> None:
    """Set in config.toml what Gardener wants and what the plugins say."""
    for directory in ("/etc/containerd/conf.d", CERTS_D):
        node.path(directory).mkdir(parents=True, exist_ok=True)
    path = node.path(_CONFIG)
    if not path.exists():
        path.write_text(node.default_config())
    config = tomllib.loads(path.read_text())
    if _IMPORTS not in config.setdefault("imports", []):
        config["imports"].append(_IMPORTS)
    is_systemd = osc["spec"]["criConfig"].get("cgroupDriver") == "systemd"
    for table, key, value in _settings(config.get("version", 1), containerd(osc)["sandboxImage"], is_systemd):
        place = config["plugins"]
        for name in table:
            place = place.setdefault(name, {})
        place[key] = value
    apply_plugins(osc, config)
    path.write_text(tomlkit.dumps(config))


def _settings(version: int, sandbox_image: str, is_systemd: bool) -> list[tuple[list[str], str, Any]]:
    """Return what is set in which table below ``plugins`` of a config.toml of a version."""
    old, images, runtime = (
        "io.containerd.grpc.v1.cri",
        "io.containerd.cri.v1.images",
        "io.containerd.cri.v1.runtime",
    )
    options = ["containerd", "runtimes", "runc", "options"]
    if version < 3:
        return [
            ([old, "registry"], "config_path", CERTS_D),
            ([old], "sandbox_image", sandbox_image),
            ([old, *options], "SystemdCgroup", is_systemd),
        ]
    return [
        ([images, "registry"], "config_path", CERTS_D),
        ([images, "pinned_images"], "sandbox", sandbox_image),
        ([runtime, *options], "SystemdCgroup", is_systemd),
    ]


def _content(file: Item) -> bytes:
    inline = file["content"].get("inline")
    if inline is None:
        raise AgentError(f"{file['path']} has no content that the agent knows")
    data: bytes = inline["data"].encode()
    return base64.b64decode(data) if inline.get("encoding") == "b64" else data


def _write(node: Node, file: Item, data: bytes) -> None:
    """Have a file there as a whole, or as it was."""
    path = node.path(file["path"])
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(data)
    new.chmod(file.get("permissions", _PRIVATE))
    new.replace(path)


def _write_registry(node: Node, entry: Item) -> None:
    path = node.path(f"{CERTS_D}/{entry['upstream']}/hosts.toml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(hosts_toml(entry, Path(CERTS_D)))


def _probe(node: Node, entry: Item) -> None:
    """Wait until all hosts of a registry answer anything."""
    directory = f"{CERTS_D}/{entry['upstream']}"
    node.path(directory).mkdir(parents=True, exist_ok=True)

    def answers(host: Item) -> bool:
        authorities = [
            word for name in host.get("caCerts") or [] for word in ("--cacert", f"{directory}/{name}")
        ]
        try:
            node.machine.run(
                "curl", "--silent", "--max-time", "1", "--output", "/dev/null", *authorities, host["url"]
            )
        except CommandError:
            return False
        return True

    with _step(f"registry {entry['upstream']}"):
        wait_until(lambda: all(map(answers, entry["hosts"])), "an answer of each host", _PROBE_LIMIT)


def _write_unit(node: Node, unit: Item) -> None:
    path = node.path(f"{_UNITS}/{unit['name']}")
    if "content" in unit:
        path.write_text(unit["content"])
        path.chmod(_PRIVATE)
    directory = path.with_name(f"{path.name}.d")
    shutil.rmtree(directory, ignore_errors=True)
    for drop_in in unit["dropIns"]:
        directory.mkdir(exist_ok=True)
        (directory / drop_in["name"]).write_text(drop_in["content"])
    with _step(f"cannot enable {unit['name']}"):
        if unit.get("enable", True):
            node.systemd.enable(unit["name"])
        else:
            node.systemd.disable(unit["name"])


def _remove_unit(node: Node, unit: Item) -> None:
    """Take away a unit that came with an OperatingSystemConfig; one of the OS image stays."""
    path = node.path(f"{_UNITS}/{unit['name']}")
    shutil.rmtree(path.with_name(f"{path.name}.d"), ignore_errors=True)
    if "content" in unit:
        node.systemd.disable(unit["name"])
        node.systemd.stop(unit["name"])
        path.unlink()


def _run_commands(node: Node, changes: Changes) -> None:
    """Restart what has changed, or stop it, all at once as the agent does."""
    commands = {
        unit["name"]: node.systemd.stop
        if unit.get("command") == "stop" or not unit.get("enable", True)
        else node.systemd.restart
        for unit in changes.units
    }
    if changes.restarts_containerd:
        commands.setdefault(CONTAINERD, node.systemd.restart)
    with ThreadPoolExecutor(len(commands) or 1) as executor:
        jobs = [executor.submit(command, name) for name, command in commands.items()]
    failures = [str(error) for job in jobs if (error := job.exception())]
    if failures:
        raise AgentError("; ".join(failures))


@contextlib.contextmanager
def _step(what: str) -> Iterator[None]:
    try:
        yield
    except (AssertionError, CommandError, JobError, OSError, UnitError) as error:
        raise AgentError(f"{what}: {error}") from error
