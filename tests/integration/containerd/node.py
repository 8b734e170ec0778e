"""What gardener-node-agent makes of an OperatingSystemConfig, as far as containerd reads it.

Written after pkg/nodeagent/controller/operatingsystemconfig of Gardener 1.150: ``containerd.go`` for the
registries, ``containerd_config.go`` for the plugins.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

CERTS_D = "/etc/containerd/certs.d"

_RUNTIMES = ["plugins", "io.containerd.grpc.v1.cri", "containerd", "runtimes"]
_RUNTIMES_SINCE_3 = ["plugins", "io.containerd.cri.v1.runtime", "containerd", "runtimes"]


def write_certs_d(osc: dict[str, Any], directory: Path) -> None:
    """Write the inline files below /etc/containerd/certs.d and then the registries, to another directory."""
    for file in osc["spec"]["files"]:
        inline = file["content"].get("inline")
        if inline and file["path"].startswith(f"{CERTS_D}/"):
            path = directory / Path(file["path"]).relative_to(CERTS_D)
            path.parent.mkdir(parents=True, exist_ok=True)
            data = inline["data"].encode()
            path.write_bytes(base64.b64decode(data) if inline.get("encoding") == "b64" else data)
    for entry in osc["spec"]["criConfig"]["containerd"].get("registries", []):
        path = directory / entry["upstream"] / "hosts.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(hosts_toml(entry, directory))


def hosts_toml(entry: dict[str, Any], directory: Path) -> str:
    """Return the hosts.toml of a registry; files of certificates are looked for below another directory."""
    lines = ["# managed by gardener-node-agent"]
    if entry.get("server"):
        lines.append(f"server = {json.dumps(entry['server'])}")
    for host in entry["hosts"]:
        lines += ["", f"[host.{json.dumps(host['url'])}]"]
        lines.append(f"  capabilities = {json.dumps(host.get('capabilities') or ['pull', 'resolve'])}")
        if host.get("caCerts"):
            lines.append(f"  ca = {json.dumps(host['caCerts'])}".replace(CERTS_D, str(directory)))
        if host.get("overridePath"):
            lines.append("  override_path = true")
    return "\n".join(lines) + "\n"


def apply_plugins(osc: dict[str, Any], config: dict[str, Any]) -> None:
    """Apply the plugins of criConfig.containerd to the content of a config.toml."""
    for plugin in osc["spec"]["criConfig"]["containerd"].get("plugins", []):
        path = ["plugins", *plugin["path"]]
        if config.get("version", 1) >= 3 and path[: len(_RUNTIMES)] == _RUNTIMES:
            path[: len(_RUNTIMES)] = _RUNTIMES_SINCE_3
        *parents, last = path
        table = config
        for key in parents:
            table = table.setdefault(key, {})
        if plugin.get("op", "add") == "remove":
            table.pop(last, None)
        else:
            table[last] = {**table.get(last, {}), **(plugin.get("values") or {})}
