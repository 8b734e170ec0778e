"""What is to be known of a shoot, out of its Extension and its Cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import api
from controller.certificates.rotation import Rotation

_KUBECONFIG_ANNOTATION = "generic-token-kubeconfig.secret.gardener.cloud/name"
_KUBECONFIG = "generic-token-kubeconfig"

Object = Mapping[str, Any]


class ShootError(Exception):
    """An Extension or a Cluster lacks something; the message names the object and the field."""


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
        ShootError: something that Gardener writes is not there.
        api.InvalidObject: the providerConfig is not valid.
    """
    own_metadata = _object(extension, "metadata", "Extension", needed=True)
    namespace = _text(own_metadata, "namespace", "Extension: metadata.")
    extension_name = _text(own_metadata, "name", "Extension: metadata.")
    name = f"Cluster {namespace}"
    metadata = _object(cluster, "metadata", name)
    if metadata.get("name") != namespace:
        raise ShootError(f"{name}: metadata.name: is {metadata.get('name')!r}, another shoot's")
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
    has_workers = bool(_object(spec, "provider", f"{name}: spec.shoot.spec").get("workers"))
    hibernated = bool(_object(spec, "hibernation", f"{name}: spec.shoot.spec").get("enabled"))
    annotations = _object(metadata, "annotations", f"{name}: metadata")
    return Shoot(
        namespace=namespace,
        technical_id=status.get("technicalID") or namespace,
        extension=extension_name,
        extension_uid=own_metadata.get("uid"),
        ingress_domain=_text(ingress, "domain", f"{name}: spec.seed.spec.ingress."),
        generic_kubeconfig=annotations.get(_KUBECONFIG_ANNOTATION) or _KUBECONFIG,
        metrics_port=config.metrics_port,
        runs=has_workers and not hibernated,
        monitored=has_workers and spec.get("purpose") != "testing",
        rotation=_rotation(status, f"{name}: spec.shoot.status"),
    )


def _rotation(status: Object, path: str) -> Rotation:
    credentials = _object(status, "credentials", path)
    rotation = _object(credentials, "rotation", f"{path}.credentials")
    authorities = _object(rotation, "certificateAuthorities", f"{path}.credentials.rotation")
    return Rotation(authorities.get("phase"), authorities.get("lastInitiationTime"))


def _object(parent: Object, key: str, path: str, *, needed: bool = False) -> Object:
    """Return a member that is an object; one that is absent or null is empty unless needed."""
    value = parent.get(key)
    if value is None and not needed:
        return {}
    if not isinstance(value, Mapping):
        at = f"{path}.{key}" if ":" in path else f"{path}: {key}"
        raise ShootError(f"{at}: {'is missing' if value is None else 'must be an object'}")
    return value


def _text(parent: Object, key: str, path: str) -> str:
    value = parent.get(key)
    if not isinstance(value, str) or not value:
        raise ShootError(f"{path}{key}: {'is missing' if not value else 'must be a string'}")
    return value
