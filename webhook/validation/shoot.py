"""Whether a Shoot may use registry-spegel the way it says.

A Shoot that names the extension is refused where the extension cannot work. A Shoot that does not name it
may have it all the same, where the landscape's operator enables it for all shoots; such a Shoot is judged
with the default configuration and only warned, because its owner configured nothing that they could put
right. Shoots being deleted, entries that are switched off, and updates that leave the spec alone (labels,
finalizers, status) are never held up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import api
from api import v1alpha1
from api.field import ENOUGH_ERRORS, child
from webhook.validation import neighbours, node_ports
from webhook.validation.reading import Reader

EXTENSION_TYPE = "registry-spegel"
NEIGHBOUR_TYPES = frozenset({"registry-cache", "registry-mirror"})
CONTAINERD = "containerd"


@dataclass(frozen=True, slots=True)
class Findings:
    """What is wrong with a Shoot, and what its owner should know."""

    errors: tuple[api.FieldError, ...] = ()
    """All reasons to refuse it; ``str(api.InvalidObject(errors))`` says them in one line."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Extension:
    """An element of spec.extensions."""

    path: str
    type: str | None
    disabled: bool
    provider_config: object


AUTO_ENABLED = Extension("spec.extensions", EXTENSION_TYPE, disabled=False, provider_config=None)
"""The entry that a Shoot without one gets where the extension is enabled for all shoots."""


def validate(shoot: object, *, old: object = None) -> Findings:
    """Judge a Shoot (core.gardener.cloud).

    Args:
        shoot: the object as JSON or YAML gave it; members of wrong types are findings, never exceptions.
        old: on an update, the object as it was.
    """
    if not isinstance(shoot, Mapping):
        return Findings((api.FieldError("", api.ErrorType.INVALID, shoot, "must be an object"),))
    if isinstance(old, Mapping) and _same(shoot.get("spec"), old.get("spec")):
        return Findings()
    reader = Reader()
    if reader.mapping(shoot, "metadata", "").get("deletionTimestamp"):
        return Findings()
    if shoot.get("spec") is None:
        return Findings((*reader.errors, api.FieldError("spec", api.ErrorType.REQUIRED)))
    spec = reader.mapping(shoot, "spec", "")
    extensions = list(_extensions(reader, spec))
    entries = [extension for extension in extensions if extension.type == EXTENSION_TYPE]
    enabled = [entry for entry in entries if not entry.disabled]
    if entries and not enabled:
        return Findings()

    errors: list[api.FieldError] = []
    warnings: list[str] = []
    for entry in entries[1 : 1 + ENOUGH_ERRORS]:
        where = child(entry.path, "type")
        errors.append(api.FieldError(where, api.ErrorType.DUPLICATE, EXTENSION_TYPE))
    networking_type = reader.text(reader.mapping(spec, "networking", "spec"), "type", "spec.networking")
    judged = enabled[:ENOUGH_ERRORS] or [AUTO_ENABLED]
    for entry in judged:
        errors += _judge_config(entry, networking_type)
    warnings += islice(_judge_neighbours(extensions, judged[0], networking_type), ENOUGH_ERRORS)
    provider = reader.mapping(spec, "provider", "spec")
    errors += islice(_judge_workers(reader, provider), ENOUGH_ERRORS)

    if entries:
        if provider.get("workers") in (None, []):
            warnings.append(
                f"spec.provider.workers: no workers, so there is nothing for {EXTENSION_TYPE} to do"
            )
    else:
        warnings[:0] = [
            f"{error} (only a warning: this Shoot does not name {EXTENSION_TYPE} itself)" for error in errors
        ]
        errors.clear()
    return Findings((*reader.errors, *errors), tuple(dict.fromkeys(warnings)))


def _extensions(reader: Reader, spec: Mapping[str, Any]) -> Iterator[Extension]:
    for path, element in reader.mappings(spec, "extensions", "spec"):
        yield Extension(
            path=path,
            type=reader.text(element, "type", path),
            disabled=reader.flag(element, "disabled", path),
            provider_config=element.get("providerConfig"),
        )


def _judge_config(entry: Extension, networking_type: str | None) -> Iterator[api.FieldError]:
    path = child(entry.path, "providerConfig")
    try:
        api.load(entry.provider_config, path=path, networking_type=networking_type)
    except api.InvalidObject as invalid:
        yield from invalid.errors
    for name, port in _written_ports(entry.provider_config).items():
        holder = node_ports.holder(port, networking_type)
        if holder is not None:
            detail = f"is taken on the nodes by {holder}"
            yield api.FieldError(child(path, name), api.ErrorType.INVALID, port, detail)


def _written_ports(raw: object) -> dict[str, int]:
    """Return the ports that a configuration sets, be there errors in it or not."""
    if not isinstance(raw, Mapping):
        return {}
    return {name: raw[name] for name in v1alpha1.UNSET.ports if type(raw.get(name)) is int}


def _judge_neighbours(
    extensions: list[Extension], entry: Extension, networking_type: str | None
) -> Iterator[str]:
    defaults = api.load(None, path="", networking_type=networking_type).ports
    ports = defaults | _written_ports(entry.provider_config)
    for other in extensions:
        if other.disabled or other.type not in NEIGHBOUR_TYPES:
            continue
        if other.type == "registry-cache":
            yield from neighbours.cache_warnings(entry.path, ports)
        path = child(other.path, "providerConfig")
        yield from neighbours.loopback_warnings(path, other.provider_config, ports)


def _judge_workers(reader: Reader, provider: Mapping[str, Any]) -> Iterator[api.FieldError]:
    """Yield an error for each worker pool on another container runtime; Gardener's default is containerd."""
    for path, worker in reader.mappings(provider, "workers", "spec.provider"):
        where = child(path, "cri")
        name = reader.text(reader.mapping(worker, "cri", path), "name", where)
        if name not in {None, CONTAINERD}:
            detail = (
                f"container runtime needs to be containerd when the {EXTENSION_TYPE} extension is enabled"
            )
            yield api.FieldError(child(where, "name"), api.ErrorType.INVALID, name, detail)


def _same(left: object, right: object) -> bool:
    """Tell whether two JSON values are the same; unlike ``==``, 1 is not true, and no depth is too deep."""
    pairs = [(left, right)]
    while pairs:
        one, other = pairs.pop()
        if type(one) is not type(other):
            return False
        if isinstance(one, dict) and isinstance(other, dict):
            if one.keys() != other.keys():
                return False
            pairs.extend((value, other[key]) for key, value in one.items())
        elif isinstance(one, list) and isinstance(other, list):
            if len(one) != len(other):
                return False
            pairs.extend(zip(one, other, strict=True))
        elif one != other:
            return False
    return True
