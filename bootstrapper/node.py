"""What is kept of a node: what is served, and what its place in the order depends on.

A Node object of Kubernetes takes 10 to 20 KB and a cluster may have 10,000 of them, so each is read once and
dropped.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, NamedTuple

ZONE_LABEL = "topology.kubernetes.io/zone"
MAX_ADDRESSES = 16
"""Of a node; a client does not look at more either."""
_MAX_TEXT = 253
_LEAVING_TAINTS = {"ToBeDeletedByClusterAutoscaler"}
_LEAVING_CONDITIONS = {"Terminating"}  # set by the machine-controller-manager


class Rank(IntEnum):
    """How likely it is that a node answers; the best come first."""

    READY = 0
    NOT_READY = 1
    """For a short time: starting, or with a kubelet that is being restarted."""
    LAST = 2
    """Being deleted, or not ready for long."""


class Node(NamedTuple):
    """One node of the cluster."""

    created: str
    """RFC 3339 in UTC, so that texts sort as times do."""
    name: str
    addresses: tuple[str, ...]
    """Internal IP addresses, IPv4 and IPv6, in the order of the Node object."""
    zone: str
    """Empty when there is none."""
    leaving: bool
    """Being deleted."""
    unready_since: float | None
    """Seconds since 1970; None when the node is ready."""

    def rank(self, now: float, patience: float) -> Rank:
        """Say where it belongs at a time, when a node may be unready for ``patience`` seconds."""
        if self.leaving:
            return Rank.LAST
        if self.unready_since is None:
            return Rank.READY
        return Rank.LAST if now - self.unready_since >= patience else Rank.NOT_READY


def read(thing: object, *, loopback: bool = False) -> Node | None:
    """Read a Node object as an API server sends it; None when it has no name.

    Whatever is missing or of another type counts as not given. Loopback addresses count only where all nodes
    are on one machine.
    """
    metadata = _mapping(_mapping(thing).get("metadata"))
    name = _text(metadata.get("name"))
    if not name:
        return None
    status = _mapping(_mapping(thing).get("status"))
    created = _text(metadata.get("creationTimestamp"))
    conditions = {_text(each.get("type")): each for each in _mappings(status.get("conditions"))}
    return Node(
        created=created,
        name=name,
        addresses=_addresses(status, loopback=loopback),
        zone=_text(_mapping(metadata.get("labels")).get(ZONE_LABEL)),
        leaving=_is_leaving(metadata, _mapping(_mapping(thing).get("spec")), conditions),
        unready_since=_unready_since(conditions.get("Ready", {}), created),
    )


def _addresses(status: Mapping[str, Any], *, loopback: bool) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for each in _mappings(status.get("addresses")):
        if each.get("type") == "InternalIP":
            address = _usable(_text(each.get("address")), loopback=loopback)
            if address is not None:
                found[address] = None
    return tuple(found)[:MAX_ADDRESSES]


def _usable(text: str, *, loopback: bool) -> str | None:
    """Return an address in its normal form, unless other nodes could not reach it."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if address.is_loopback:
        return str(address) if loopback else None
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return None
    return str(address)


def _is_leaving(
    metadata: Mapping[str, Any], spec: Mapping[str, Any], conditions: Mapping[str, Mapping[str, Any]]
) -> bool:
    taints = {_text(taint.get("key")) for taint in _mappings(spec.get("taints"))}
    return (
        bool(metadata.get("deletionTimestamp"))
        or not taints.isdisjoint(_LEAVING_TAINTS)
        or any(conditions.get(name, {}).get("status") == "True" for name in _LEAVING_CONDITIONS)
    )


def _unready_since(ready: Mapping[str, Any], created: str) -> float | None:
    if ready.get("status") == "True":
        return None
    for text in (_text(ready.get("lastTransitionTime")), created):
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            continue
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    return 0.0


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= _MAX_TEXT else ""
