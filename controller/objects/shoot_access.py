"""The bootstrapper's access to the shoot's API server: it may see nodes, and nothing else."""

from __future__ import annotations

from typing import Any

from controller.objects import names

Object = dict[str, Any]

_ROLE = f"extensions.gardener.cloud:{names.BOOTSTRAPPER}"
_SHOOT_NAMESPACE = "kube-system"


def access_secret(namespace: str) -> Object:
    """Return the Secret that gardener-resource-manager puts a token of the ServiceAccount into."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": names.ACCESS_SECRET,
            "namespace": namespace,
            "labels": {
                **names.LABELS,
                "resources.gardener.cloud/purpose": "token-requestor",
                "resources.gardener.cloud/class": "shoot",
            },
            "annotations": {
                "serviceaccount.resources.gardener.cloud/name": names.BOOTSTRAPPER,
                "serviceaccount.resources.gardener.cloud/namespace": _SHOOT_NAMESPACE,
            },
        },
        "type": "Opaque",
    }


def in_shoot() -> list[Object]:
    """Return what is applied in the shoot: the ServiceAccount and its rights.

    gardener-resource-manager would make the ServiceAccount for the Secret too, and never delete it.
    """
    metadata = {"name": _ROLE, "labels": dict(names.LABELS)}
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {
                "name": names.BOOTSTRAPPER,
                "namespace": _SHOOT_NAMESPACE,
                "labels": dict(names.LABELS),
            },
            "automountServiceAccountToken": False,
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": metadata,
            "rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]}],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": _ROLE},
            "subjects": [
                {"kind": "ServiceAccount", "name": names.BOOTSTRAPPER, "namespace": _SHOOT_NAMESPACE}
            ],
        },
    ]
