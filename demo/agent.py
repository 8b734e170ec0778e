"""What gardener-node-agent does on a node, as far as the cache goes: from an OperatingSystemConfig to files.

Only what several nodes on one machine cannot share is adapted: addresses, and paths, which lead below a
directory of the node. Hosts other than the node's own cache are somebody's servers, and left out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webhook.mutation.files import CERTIFICATE_DIRECTORY, CERTIFICATE_KEYS, CERTIFICATE_PATHS

_ADDRESS = re.compile(r"--(registry|router|metrics)-addr=:(\d+)")
_PATH = re.compile(r"(--[a-z-]+=)(/.*)")


@dataclass(frozen=True, slots=True)
class Setup:
    """What an OperatingSystemConfig says of the cache on a node."""

    command: tuple[str, ...]
    """Of the unit: the program and its flags, as systemd would run it."""
    ports: Mapping[str, int]
    """Of ``registry``, ``router`` and ``metrics``."""
    certificate_keys: Sequence[str]
    """Which keys of the Secret the node gets as files."""
    capabilities: Sequence[str]
    """Of the node's own cache, for registries without an entry of their own; empty when it is not asked."""

    def flags(self, root: Path, address: str) -> list[str]:
        """Return the daemon's arguments for a node on an address, with its files below a directory."""
        adapted = (_ADDRESS.sub(rf"--\1-addr={address}:\2", argument) for argument in self.command[1:])
        return [_PATH.sub(rf"\g<1>{root}\g<2>", argument) for argument in adapted]

    def install(self, root: Path, address: str, secret: Mapping[str, bytes]) -> None:
        """Write the files of a node; ``secret`` is what its secretRefs lead to."""
        directory = root / CERTIFICATE_DIRECTORY.lstrip("/")
        directory.mkdir(parents=True)
        for key in self.certificate_keys:
            (directory / key).touch(mode=0o600)
            (directory / key).write_bytes(secret[key])
        default = certs_d(root) / "_default"
        default.mkdir(parents=True)
        if self.capabilities:
            capabilities = ", ".join(f'"{each}"' for each in self.capabilities)
            url = f"http://{address}:{self.ports['registry']}"
            (default / "hosts.toml").write_text(f'[host."{url}"]\n  capabilities = [{capabilities}]\n')


def certs_d(root: Path) -> Path:
    """Return containerd's directory of hosts.toml files, below a node's own."""
    return root / "etc/containerd/certs.d"


def read_setup(osc: Mapping[str, Any]) -> Setup | None:
    """Read a mutated OperatingSystemConfig; None when it gives its nodes no cache."""
    spec = osc["spec"]
    unit = next((unit for unit in spec.get("units", ()) if unit.get("name") == "spegel.service"), None)
    if unit is None:
        return None
    lines = unit["content"].replace("\\\n", " ").splitlines()
    line = next(line for line in lines if line.startswith("ExecStart="))
    words = shlex.split(line.removeprefix("ExecStart="))
    command = tuple(word.replace("%%", "%").replace("$$", "$") for word in words)
    ports = {match[1]: int(match[2]) for word in command if (match := _ADDRESS.fullmatch(word))}
    paths = [file["path"] for file in spec.get("files", ())]
    keys = [key for key, path in zip(CERTIFICATE_KEYS, CERTIFICATE_PATHS, strict=True) if path in paths]
    registries = spec.get("criConfig", {}).get("containerd", {}).get("registries", ())
    own = f"http://localhost:{ports['registry']}"
    capabilities = [
        capability
        for entry in registries
        if entry["upstream"] == "_default"
        for host in entry["hosts"]
        if host["url"] == own
        for capability in host["capabilities"]
    ]
    return Setup(command, ports, keys, capabilities)
