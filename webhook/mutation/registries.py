"""The registries of criConfig.containerd: the local host comes first for each of them.

gardener-node-agent writes each entry to /etc/containerd/certs.d/<upstream>/hosts.toml. containerd reads
the directory of the registry or else ``_default``, never both, so the local host has to stand in every entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webhook.mutation import reading
from webhook.mutation.host_url import is_local
from webhook.mutation.model import LocalHost, Operation
from webhook.mutation.patch import Location, add, remove, replace

DEFAULT_UPSTREAM = "_default"
"""containerd's name for registries that have no directory of their own."""

LOCATION: Location = ("spec", "criConfig", "containerd", "registries")


def prepend_local_host(entries: list[Mapping[str, Any]], host: LocalHost) -> list[Operation]:
    """Make the local host the first of every entry and remove copies of it further down.

    Raises:
        MutationError: an entry's hosts are not a list of objects with string URLs.
    """
    wanted = {"url": host.url, "capabilities": list(host.capabilities)}
    operations: list[Operation] = []
    for index, entry in enumerate(entries):
        location = (*LOCATION, index, "hosts")
        path = f"spec.criConfig.containerd.registries[{index}]"
        hosts = reading.mappings(entry, "hosts", path)
        if hosts is None:
            operations.append(add(location, [wanted]))
            continue
        copies = [
            position
            for position, other in enumerate(hosts)
            if is_local(reading.text(other, "url", f"{path}.hosts[{position}]") or "", host)
        ]
        is_first = copies[:1] == [0]
        # From the end, so that the positions still to be used stay right.
        operations += [remove((*location, position)) for position in reversed(copies) if position > 0]
        if not is_first:
            operations.append(add((*location, 0), wanted))
        elif hosts[0] != wanted:
            operations.append(replace((*location, 0), wanted))
    return operations


def has_default(entries: list[Mapping[str, Any]]) -> bool:
    """Tell whether an entry configures the default mirror."""
    return any(entry.get("upstream") == DEFAULT_UPSTREAM for entry in entries)


def add_default(entries: list[Mapping[str, Any]] | None, host: LocalHost) -> Operation:
    """Add the default mirror: the local host alone.

    There is no ``server``: containerd then falls back to the registry of the image.
    """
    entry = {
        "upstream": DEFAULT_UPSTREAM,
        "hosts": [{"url": host.url, "capabilities": list(host.capabilities)}],
    }
    return add(LOCATION, [entry]) if entries is None else add((*LOCATION, "-"), entry)
