"""All objects that a shoot needs, and how each of them gets there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from controller.certificates.model import Certificates
from controller.objects import certificate_secrets, names, shoot_access
from controller.objects.bootstrapper import bootstrapper
from controller.objects.exposure import exposure
from controller.objects.managed_resource import ManagedResource, Target
from controller.objects.monitoring import monitoring
from controller.objects.options import Options
from controller.shoot import Shoot

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Desired:
    """What is to be on the seed, in the shoot's namespace, and in the shoot."""

    secrets: tuple[Object, ...]
    """Applied directly, since others read them or write into them."""
    managed_resources: tuple[ManagedResource, ...]
    """Everything else."""
    owner: Object | None
    """Reference to the Extension."""

    def direct(self) -> list[Object]:
        """Return what is applied directly, in this order."""
        objects = list(self.secrets)
        for resource in self.managed_resources:
            objects += [resource.secret(), resource.resource()]
        return [self._owned(each) for each in objects]

    @property
    def unwanted(self) -> list[str]:
        """Names of ManagedResources to be deleted, with their Secrets, should they exist."""
        wanted = {resource.name for resource in self.managed_resources}
        return [name for name in names.MANAGED_RESOURCES if name not in wanted]

    def _owned(self, thing: Object) -> Object:
        # The authority must not go with an Extension that moves to another seed before Gardener has saved it.
        if self.owner is None or thing["metadata"]["name"] == names.AUTHORITY_SECRET:
            return thing
        return {**thing, "metadata": {**thing["metadata"], "ownerReferences": [self.owner]}}


def host(shoot: Shoot, options: Options) -> str:
    """Return the name for which the bootstrapper needs a certificate."""
    return names.host(options.host_prefix, shoot.technical_id, shoot.ingress_domain)


def desired(shoot: Shoot, certificates: Certificates, options: Options) -> Desired:
    """Return all objects for a shoot, the same for the same arguments."""
    namespace, server = shoot.namespace, host(shoot, options)
    secrets = [
        *certificate_secrets.secrets(certificates, namespace, f"https://{server}{names.BOOTSTRAP_PATH}"),
        shoot_access.access_secret(namespace),
    ]
    serving = [
        *bootstrapper(
            namespace, runs=shoot.runs, generic_kubeconfig=shoot.generic_kubeconfig, options=options
        ),
        *exposure(namespace, server, options),
    ]
    resources = [
        ManagedResource(names.SHOOT_RESOURCE, namespace, Target.SHOOT, tuple(shoot_access.in_shoot())),
        ManagedResource(names.BOOTSTRAPPER_RESOURCE, namespace, Target.SEED, tuple(serving)),
    ]
    if shoot.monitored:
        resources.append(
            ManagedResource(
                names.MONITORING_RESOURCE,
                namespace,
                Target.SEED,
                tuple(monitoring(namespace, shoot.metrics_port)),
                {"care.gardener.cloud/condition-type": "ObservabilityComponentsHealthy"},
            )
        )
    return Desired(tuple(secrets), tuple(resources), _owner(shoot))


def _owner(shoot: Shoot) -> Object | None:
    if shoot.extension_uid is None:
        return None
    return {
        "apiVersion": "extensions.gardener.cloud/v1alpha1",
        "kind": "Extension",
        "name": shoot.extension,
        "uid": shoot.extension_uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
