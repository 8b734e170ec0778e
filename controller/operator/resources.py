"""The kinds of objects that this controller reads or writes, and where an API server has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of objects."""

    api_version: str
    kind: str
    plural: str

    @property
    def group_path(self) -> str:
        """The path of the kind's API group, in its version."""
        return f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """Return the path of one object, or of all of a namespace, or of all."""
        path = self.group_path
        if namespace is not None:
            path += f"/namespaces/{namespace}"
        path += f"/{self.plural}"
        return path if name is None else f"{path}/{name}"


EXTENSION = Resource("extensions.gardener.cloud/v1alpha1", "Extension", "extensions")
CLUSTER = Resource("extensions.gardener.cloud/v1alpha1", "Cluster", "clusters")
NAMESPACE = Resource("v1", "Namespace", "namespaces")
SECRET = Resource("v1", "Secret", "secrets")
LEASE = Resource("coordination.k8s.io/v1", "Lease", "leases")
MANAGED_RESOURCE = Resource("resources.gardener.cloud/v1alpha1", "ManagedResource", "managedresources")
WEBHOOK_CONFIGURATION = Resource(
    "admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations"
)

_OF_A_SHOOT = {(resource.api_version, resource.kind): resource for resource in (SECRET, MANAGED_RESOURCE)}


def resource_of(thing: Mapping[str, Any]) -> Resource:
    """Return the kind of an object that is made in a shoot's namespace."""
    return _OF_A_SHOOT[thing["apiVersion"], thing["kind"]]
