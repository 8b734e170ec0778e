"""What gardener-node-agent does on a node, as far as the cache goes: from an OperatingSystemConfig to files.

Only what several nodes on one machine cannot share is adapted: addresses, and paths, which lead below a
directory of the node. Hosts other than the node's own cache are somebody's servers, and left out.
"""

from __future__ import annotations

import base64
import re
import shlex
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.errors import DemoError
from webhook.mutation.files import CERTIFICATE_DIRECTORY, CERTIFICATE_KEYS, CERTIFICATE_PATHS

_CERTS_D = "/etc/containerd/certs.d"
_DEFAULT = f"{_CERTS_D}/_default/hosts.toml"
_ADDRESS = re.compile(r"--(registry|router|metrics)-addr=:(\d+)")
_EXEC_START = re.compile(r"^ExecStart=(.*)$", re.MULTILINE)
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
    """Of the node's own cache, as the first host of all registries."""

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
        hosts = root / _DEFAULT.lstrip("/")
        hosts.parent.mkdir(parents=True)
        capabilities = ", ".join(f'"{each}"' for each in self.capabilities)
        url = f"http://{address}:{self.ports['registry']}"
        hosts.write_text(f'[host."{url}"]\n  capabilities = [{capabilities}]\n')


def certs_d(root: Path) -> Path:
    """Return containerd's directory of hosts.toml files, below a node's own."""
    return root / _CERTS_D.lstrip("/")


def read_setup(osc: Mapping[str, Any]) -> Setup | None:
    """Read a mutated OperatingSystemConfig; None when it gives its nodes no cache.

    Raises:
        DemoError: it gives them one that containerd would not ask for the demo's image.
    """
    spec = osc.get("spec") or {}
    containerd = (spec.get("criConfig") or {}).get("containerd") or {}
    units, files = spec.get("units") or (), spec.get("files") or ()
    content = (
        next((unit.get("content") for unit in units if unit.get("name") == "spegel.service"), None) or ""
    )
    found = _EXEC_START.search(content.replace("\\\n", " "))
    words = shlex.split(found[1]) if found else []
    command = tuple(word.replace("%%", "%").replace("$$", "$") for word in words)
    ports = {match[1]: int(match[2]) for word in command if (match := _ADDRESS.fullmatch(word))}
    if "registry" not in ports:
        return None
    paths = {file["path"] for file in files}
    keys = [key for key, path in zip(CERTIFICATE_KEYS, CERTIFICATE_PATHS, strict=True) if path in paths]
    hosts = _default_hosts(containerd.get("registries") or (), files)
    own = hosts.get(f"http://localhost:{ports['registry']}")
    if own is None:
        raise DemoError("the cache is not before all registries (_default), so it would not be asked")
    return Setup(command, ports, keys, own["capabilities"])


def _default_hosts(
    registries: Iterable[Mapping[str, Any]], files: Iterable[Mapping[str, Any]]
) -> Mapping[str, Any]:
    """Return the hosts, by URL, of registries without an entry of their own: of an entry, or of a file."""
    for entry in registries:
        if entry["upstream"] == "_default":
            return {host["url"]: host for host in entry["hosts"]}
    for file in files:
        match file:
            case {"path": path, "content": {"inline": {"data": str(text), **rest}}} if path == _DEFAULT:
                if rest.get("encoding") == "b64":
                    text = base64.b64decode(text).decode()
                hosts: Mapping[str, Any] = tomllib.loads(text)["host"]
                return hosts
    return {}
