"""The pure core: an OperatingSystemConfig and its context in, a JSON patch out.

The patch is built from what changes; the document is never serialised through models of ours, so
that fields this project does not know survive untouched. Applied once, a second run finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from webhook.mutation import hosts_files, reading, registries
from webhook.mutation.files import CERTIFICATE_PATHS
from webhook.mutation.files import files as node_files
from webhook.mutation.model import (
    Bootstrap,
    LocalHost,
    Mutation,
    MutationError,
    NodeContext,
    Operation,
    Ports,
    Program,
    local_url,
)
from webhook.mutation.patch import put_named
from webhook.mutation.plugins import keep_unpacked_layers
from webhook.mutation.units import registry_port
from webhook.mutation.units import units as node_units

__all__ = [
    "Bootstrap",
    "LocalHost",
    "Mutation",
    "MutationError",
    "NodeContext",
    "Operation",
    "Ports",
    "Program",
    "is_candidate",
    "mutate",
]


def is_candidate(osc: Mapping[str, Any]) -> bool:
    """Tell whether an OperatingSystemConfig is one that gardener-node-agent applies, and not being deleted.

    Raises:
        MutationError: metadata or spec is not an object.
    """
    metadata = reading.mapping(osc, "metadata", "OperatingSystemConfig") or {}
    spec = reading.mapping(osc, "spec", "OperatingSystemConfig") or {}
    return spec.get("purpose") == "reconcile" and not metadata.get("deletionTimestamp")


def mutate(osc: Mapping[str, Any], context: NodeContext) -> Mutation:
    """Compute what makes the nodes of an OperatingSystemConfig members of the image cache.

    Raises:
        MutationError: the object cannot be mutated; nothing of it is then to be changed.
    """
    if not is_candidate(osc):
        return Mutation([], [])
    spec = osc["spec"]
    cri = reading.mapping(spec, "criConfig", "spec")
    runtime = (cri or {}).get("name") or "containerd"
    if runtime != "containerd":
        return Mutation([], [f"spec.criConfig.name is {runtime}: only containerd can use the image cache"])

    files = reading.mappings(spec, "files", "spec")
    units = reading.mappings(spec, "units", "spec")
    containerd = reading.mapping(cri or {}, "containerd", "spec.criConfig")
    host = _local_host(context, units or [])

    result = hosts_files.prepend_local_host(files or [], host)
    wanted_files = node_files(context)
    if containerd is None:
        part = "spec.criConfig" if cri is None else "spec.criConfig.containerd"
        result.warnings.append(
            f"{part} is absent: containerd's registries and plugins are not configured through it"
        )
        if not hosts_files.has_default(files or []):
            wanted_files.append(hosts_files.default_file(host))
    else:
        result.patch.extend(
            _containerd(containerd, host, has_default_file=hosts_files.has_default(files or []))
        )
    result.patch.extend(put_named(("spec", "files"), files, wanted_files, "path", owned=CERTIFICATE_PATHS))
    result.patch.extend(put_named(("spec", "units"), units, node_units(context, wanted_files), "name"))
    return result


def _local_host(context: NodeContext, units: list[Mapping[str, Any]]) -> LocalHost:
    """Return the local host; the daemon's unit of an earlier mutation tells where it was then."""
    port = registry_port(units)
    return replace(context.local_host, former_url=None if port is None else local_url(port))


def _containerd(containerd: Mapping[str, Any], host: LocalHost, *, has_default_file: bool) -> list[Operation]:
    path = "spec.criConfig.containerd"
    entries = reading.mappings(containerd, "registries", path)
    operations = registries.prepend_local_host(entries or [], host)
    if not has_default_file and not registries.has_default(entries or []):
        operations.append(registries.add_default(entries, host))
    return operations + keep_unpacked_layers(reading.mappings(containerd, "plugins", path))
