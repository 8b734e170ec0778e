"""What is to be known of a shoot, out of its Extension and its Cluster."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import api
from controller.certificates.rotation import Rotation

_KUBECONFIG_ANNOTATION = "generic-token-kubeconfig.secret.gardener.cloud/name"
_KUBECONFIG = "generic-token-kubeconfig"

_LABEL = "[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_NAME = re.compile(f"{_LABEL}")
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_MAX_NAMESPACE = 63
_MAX_DOMAIN = 253 - 64  # a label goes before it

Object = Mapping[str, Any]
Value = TypeVar("Value")

_KINDS: dict[type, str] = {str: "a string", bool: "true or false", list: "a list"}


class ShootError(Exception):
    """An Extension or a Cluster cannot be used; the message names the object and the field."""


@dataclass(frozen=True, slots=True)
class Shoot:
    """A shoot whose Extension is to be reconciled."""

    namespace: str
    """Of its control plane on the seed, which is also the Cluster's name."""
    technical_id: str
    extension: str
    """Its name."""
    extension_uid: str | None
    """None when it was not read from an API server."""
    ingress_domain: str
    """Below which all hosts of the seed lead to its ingress gateway."""
    generic_kubeconfig: str
    """Secret with a kubeconfig for any pod that brings its token; gets another name now and then."""
    metrics_port: int
    """Of the daemon, on each node."""
    runs: bool
    """Whether there may be nodes: the shoot has workers and is not hibernated."""
    monitored: bool
    """Whether it has a Prometheus."""
    rotation: Rotation


def read(extension: Object, cluster: Object) -> Shoot:
    """Read both objects as the API server's JSON says them.

    Raises:
        ShootError: something that Gardener writes is not there, or not what Gardener writes.
        api.InvalidObject: the providerConfig is not valid.
    """
    own_metadata = _object(extension, "metadata", "Extension", needed=True)
    namespace = _name(own_metadata, "namespace", "Extension: metadata", _NAME, _MAX_NAMESPACE)
    extension_name = _name(own_metadata, "name", "Extension: metadata", _DOMAIN, 253)
    _object(own_metadata, "annotations", "Extension: metadata")
    name = f"Cluster {namespace}"
    metadata = _object(cluster, "metadata", name)
    if (own_name := _optional(metadata, "name", str, f"{name}: metadata")) != namespace:
        reason = f"is {own_name!r}, another shoot's" if own_name else "is missing"
        raise ShootError(f"{name}: metadata.name: {reason}")
    cluster_spec = _object(cluster, "spec", name)
    shoot = _object(cluster_spec, "shoot", f"{name}: spec", needed=True)
    spec = _object(shoot, "spec", f"{name}: spec.shoot", needed=True)
    status = _object(shoot, "status", f"{name}: spec.shoot")
    seed = _object(cluster_spec, "seed", f"{name}: spec")
    ingress = _object(_object(seed, "spec", f"{name}: spec.seed"), "ingress", f"{name}: spec.seed.spec")
    networking = _object(spec, "networking", f"{name}: spec.shoot.spec")
    config = api.load(
        _object(extension, "spec", f"Extension {namespace}/{extension_name}").get("providerConfig"),
        path="spec.providerConfig",
        networking_type=networking.get("type"),
    )
    at = f"{name}: spec.shoot.spec"
    has_workers = bool(_optional(_object(spec, "provider", at), "workers", list, f"{at}.provider"))
    hibernated = bool(_optional(_object(spec, "hibernation", at), "enabled", bool, f"{at}.hibernation"))
    named = {"technicalID": namespace} | {key: value for key, value in status.items() if value}
    annotations = _object(metadata, "annotations", f"{name}: metadata")
    return Shoot(
        namespace=namespace,
        technical_id=_name(named, "technicalID", f"{name}: spec.shoot.status", _NAME, 253),
        extension=extension_name,
        extension_uid=_optional(own_metadata, "uid", str, "Extension: metadata"),
        ingress_domain=_name(ingress, "domain", f"{name}: spec.seed.spec.ingress", _DOMAIN, _MAX_DOMAIN),
        generic_kubeconfig=_optional(
            annotations, _KUBECONFIG_ANNOTATION, str, f"{name}: metadata.annotations"
        )
        or _KUBECONFIG,
        metrics_port=config.metrics_port,
        runs=has_workers and not hibernated,
        monitored=has_workers and _optional(spec, "purpose", str, at) != "testing",
        rotation=_rotation(status, f"{name}: spec.shoot.status"),
    )


def _rotation(status: Object, path: str) -> Rotation:
    credentials = _object(status, "credentials", path)
    rotation = _object(credentials, "rotation", f"{path}.credentials")
    authorities = _object(rotation, "certificateAuthorities", f"{path}.credentials.rotation")
    at = f"{path}.credentials.rotation.certificateAuthorities"
    return Rotation(
        _optional(authorities, "phase", str, at), _optional(authorities, "lastInitiationTime", str, at)
    )


def _object(parent: Object, key: str, path: str, *, needed: bool = False) -> Object:
    """Return a member that is an object; one that is absent or null is empty unless needed."""
    value = parent.get(key)
    if value is None and not needed:
        return {}
    if not isinstance(value, Mapping):
        raise ShootError(f"{_at(path, key)}: {'is missing' if value is None else 'must be an object'}")
    return value


def _optional(parent: Object, key: str, kind: type[Value], path: str) -> Value | None:
    """Return a member of a type, or None when it is absent or null."""
    value = parent.get(key)
    if value is not None and not isinstance(value, kind):
        raise ShootError(f"{_at(path, key)}: must be {_KINDS[kind]}")
    return value


def _name(parent: Object, key: str, path: str, pattern: re.Pattern[str], most: int) -> str:
    """Return a member that is a name as DNS has them."""
    value = _optional(parent, key, str, path)
    if not value:
        raise ShootError(f"{_at(path, key)}: is missing")
    if not pattern.fullmatch(value) or len(value) > most:
        raise ShootError(f"{_at(path, key)}: {value[:80]!r} is not a DNS name of at most {most} characters")
    return value


def _at(path: str, key: str) -> str:
    return f"{path}.{key}" if ":" in path else f"{path}: {key}"
