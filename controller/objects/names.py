"""Names, labels and the host: what the objects call themselves and each other."""

from __future__ import annotations

import hashlib

NAME = "registry-spegel"
BOOTSTRAPPER = f"{NAME}-bootstrapper"

AUTHORITY_SECRET = f"{NAME}-ca"
SERVER_SECRET = f"{BOOTSTRAPPER}-tls"
CLIENT_SECRET = f"{NAME}-bootstrap"
"""What the webhook reads, and what gardenlet copies files for the nodes from."""
ACCESS_SECRET = f"shoot-access-{BOOTSTRAPPER}"

SECRETS = (AUTHORITY_SECRET, SERVER_SECRET, CLIENT_SECRET, ACCESS_SECRET)
"""All Secrets of a shoot that are applied directly, but for those of ManagedResources."""

SHOOT_RESOURCE = f"{NAME}-shoot"
BOOTSTRAPPER_RESOURCE = BOOTSTRAPPER
MONITORING_RESOURCE = f"{NAME}-monitoring"
MANAGED_RESOURCES = (SHOOT_RESOURCE, BOOTSTRAPPER_RESOURCE, MONITORING_RESOURCE)
"""All ManagedResources that a shoot may have."""

LABELS = {
    "app.kubernetes.io/name": NAME,
    "app.kubernetes.io/managed-by": f"gardener-extension-{NAME}",
}
"""On everything that is made for a shoot."""

POD_LABELS = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/component": "bootstrapper"}
"""By which the bootstrapper's pods are selected; a Deployment's selector can never change."""

BOOTSTRAP_PATH = "/bootstrap-nodes"

_MAX_LABEL = 63
_DIGEST = 8


def managed_resource_secret(name: str) -> str:
    """Return the name of the Secret that holds the objects of a ManagedResource."""
    return f"managedresource-{name}"


def host(prefix: str, technical_id: str, domain: str) -> str:
    """Return the name under which nodes reach the bootstrapper, as Gardener makes them for its own ingresses.

    Args:
        prefix: what tells it from the shoot's other hosts.
        technical_id: of the shoot: ``shoot--<project>--<name>``.
        domain: the seed's ingress domain.
    """
    short = technical_id.removeprefix("shoot-").removeprefix("-")
    label = f"{prefix}-{short}"
    if len(label) > _MAX_LABEL:
        digest = hashlib.sha256(technical_id.encode()).hexdigest()[:_DIGEST]
        label = f"{label[: _MAX_LABEL - _DIGEST - 1].rstrip('-')}-{digest}"
    return f"{label}.{domain}"


def service_host(namespace: str) -> str:
    """Return the bootstrapper's name inside the seed."""
    return f"{BOOTSTRAPPER}.{namespace}.svc.cluster.local"
