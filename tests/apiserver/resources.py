"""Kinds of objects, and the paths at which an API server has them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of objects."""

    group: str
    """Empty for the core group."""
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    has_status: bool = False

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def base(self) -> str:
        """The path of its group and version."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"

    def path(self, name: str | None = None, namespace: str | None = None) -> str:
        """The path of one object, or of all (of a namespace)."""
        parts = [self.base]
        if namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        return "/".join(parts)

    def describe(self) -> list[dict[str, Any]]:
        """Its entries in the discovery document of its group and version."""
        verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
        entry = {
            "name": self.plural,
            "singularName": self.kind.lower(),
            "namespaced": self.namespaced,
            "kind": self.kind,
            "verbs": verbs,
        }
        status = entry | {"name": f"{self.plural}/status", "verbs": ["get", "patch", "update"]}
        return [entry, status] if self.has_status else [entry]


def _core(kind: str, plural: str, **more: bool) -> Resource:
    return Resource("", "v1", kind, plural, **more)


_GARDENER = "extensions.gardener.cloud"
_RBAC = "rbac.authorization.k8s.io"
_ADMISSION = "admissionregistration.k8s.io"

STANDARD = (
    _core("Namespace", "namespaces", namespaced=False, has_status=True),
    _core("Node", "nodes", namespaced=False, has_status=True),
    _core("Pod", "pods", has_status=True),
    _core("Secret", "secrets"),
    _core("ConfigMap", "configmaps"),
    _core("Service", "services", has_status=True),
    _core("ServiceAccount", "serviceaccounts"),
    _core("Event", "events"),
    Resource("apps", "v1", "Deployment", "deployments", has_status=True),
    Resource("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", has_status=True),
    Resource("coordination.k8s.io", "v1", "Lease", "leases"),
    Resource("networking.k8s.io", "v1", "Ingress", "ingresses", has_status=True),
    Resource("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
    Resource(_RBAC, "v1", "Role", "roles"),
    Resource(_RBAC, "v1", "RoleBinding", "rolebindings"),
    Resource(_RBAC, "v1", "ClusterRole", "clusterroles", namespaced=False),
    Resource(_RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False),
    Resource(
        _ADMISSION, "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", namespaced=False
    ),
    Resource(
        _ADMISSION,
        "v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        namespaced=False,
    ),
    Resource(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        namespaced=False,
        has_status=True,
    ),
    Resource("autoscaling.k8s.io", "v1", "VerticalPodAutoscaler", "verticalpodautoscalers", has_status=True),
    Resource(_GARDENER, "v1alpha1", "Extension", "extensions", has_status=True),
    Resource(_GARDENER, "v1alpha1", "Cluster", "clusters", namespaced=False),
    Resource("resources.gardener.cloud", "v1alpha1", "ManagedResource", "managedresources", has_status=True),
    Resource("networking.istio.io", "v1", "Gateway", "gateways", has_status=True),
    Resource("networking.istio.io", "v1", "VirtualService", "virtualservices", has_status=True),
    Resource("networking.istio.io", "v1", "DestinationRule", "destinationrules", has_status=True),
    Resource("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules"),
    Resource("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors"),
    Resource("monitoring.coreos.com", "v1alpha1", "ScrapeConfig", "scrapeconfigs"),
)
"""What the tests of this project need of a cluster."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a path means."""

    resource: Resource
    namespace: str | None
    name: str | None
    subresource: str | None


class Resources:
    """All kinds that a server knows."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._resources = tuple(resources)
        self._by_path = {(resource.base, resource.plural): resource for resource in self._resources}
        self._by_kind = {(resource.api_version, resource.kind): resource for resource in self._resources}

    def of(self, thing: dict[str, Any]) -> Resource:
        """The resource of an object.

        Raises:
            KeyError: there is none.
        """
        return self._by_kind[thing["apiVersion"], thing["kind"]]

    def target(self, path: str) -> Target | None:
        """What a path means; None when it means nothing."""
        parts = path.strip("/").split("/")
        length = 2 if parts[0] == "api" else 3
        base, rest = "/" + "/".join(parts[:length]), parts[length:]
        namespace = None
        if len(rest) > 2 and rest[0] == "namespaces" and (base, rest[2]) in self._by_path:
            namespace, rest = rest[1], rest[2:]
        if not 1 <= len(rest) <= 3 or (base, rest[0]) not in self._by_path:
            return None
        plural, name, subresource = (*rest, None, None)[:3]
        assert plural is not None
        resource = self._by_path[base, plural]
        return Target(resource, namespace if resource.namespaced else None, name, subresource)

    def discovery(self, path: str) -> dict[str, Any] | None:
        """The document that says what there is at a path; None when the path is none of those."""
        path = path.rstrip("/")
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": self._groups()}
        found = [resource for resource in self._resources if resource.base == path]
        if not found:
            return None
        return {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": found[0].api_version,
            "resources": [entry for resource in found for entry in resource.describe()],
        }

    def _groups(self) -> list[dict[str, Any]]:
        versions: dict[str, list[str]] = {}
        for resource in self._resources:
            known = versions.setdefault(resource.group, [])
            if resource.version not in known:
                known.append(resource.version)
        versions.pop("", None)
        described = {
            group: [{"groupVersion": f"{group}/{version}", "version": version} for version in known]
            for group, known in versions.items()
        }
        return [
            {"name": group, "versions": known, "preferredVersion": known[0]}
            for group, known in described.items()
        ]
