"""The settings of the controller, see serving.settings."""

from __future__ import annotations

import ipaddress
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from pydantic import Field, IPvAnyAddress
from pydantic_settings import BaseSettings

from controller.objects.options import Exposure, Options
from serving import settings

DISTRIBUTION = "gardener-extension-registry-spegel"
_VERSION = version(DISTRIBUTION)
_REPOSITORY = "europe-docker.pkg.dev/gardener-project/public/gardener/extensions/registry-spegel/bootstrapper"

_IMAGE = (
    r"^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]+)?/)?"
    r"[a-z0-9]+([._/-]+[a-z0-9]+)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$"
)
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?=[A-Za-z0-9._-]*"


class ObjectSettings(BaseSettings):
    """What is made for each shoot."""

    model_config = settings.configuration("CONTROLLER_")

    bootstrapper_image: str = Field(
        f"{_REPOSITORY}:v{_VERSION}",
        pattern=_IMAGE,
        max_length=512,
        description="Image of the bootstrapper",
    )
    exposure: Exposure = Field(
        Exposure.ISTIO,
        description="Who passes the nodes' connections on to a bootstrapper: `istio`, or `nginx` on a seed "
        "that still runs it (gardenlet's feature gate DisableNginxIngressInSeed is off there)",
    )
    istio_namespace: str = Field(
        "istio-ingress",
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        description="Namespace of the seed's Istio ingress gateway",
    )
    istio_labels: str = Field(
        "app=istio-ingressgateway,istio=ingressgateway",
        pattern=rf"^{_LABEL}(,{_LABEL})*$",
        description="Labels of its pods: name=value,...",
    )
    host_prefix: str = Field(
        "sp",
        pattern=r"^[a-z]([-a-z0-9]{0,18}[a-z0-9])?$",
        description="Beginning of the host names of bootstrappers below the seed's ingress domain. Gardener "
        "itself uses api, au, gu, otc, p and v",
    )

    @property
    def options(self) -> Options:
        """The options as the pure code wants them."""
        return Options(
            bootstrapper_image=self.bootstrapper_image,
            exposure=self.exposure,
            istio_namespace=self.istio_namespace,
            istio_labels=dict(label.split("=", 1) for label in self.istio_labels.split(",")),
            host_prefix=self.host_prefix,
        )


class ControllerSettings(ObjectSettings):
    """What ``python -m controller run`` runs with."""

    namespace: str | None = Field(
        None,
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        description="Namespace of the extension, with its Leases and the webhook's certificate; by default "
        "that of the pod, or of the kubeconfig's context",
    )
    kubeconfig: Path | None = Field(
        None,
        description="File with address and credentials of the seed's API server; by default those of the "
        "pod, and outside of a pod the file that KUBECONFIG names or ~/.kube/config",
    )
    webhook_registration: Path | None = Field(
        None,
        description="File with the MutatingWebhookConfiguration, without caBundle, that is to be kept "
        "registered and provided with certificates; without it that is left to others",
    )
    workers: int = Field(5, ge=1, le=100, description="Extensions that are worked on at the same time")
    address: IPvAnyAddress = Field(
        ipaddress.IPv4Address("0.0.0.0"),  # noqa: S104 - a pod is probed at the address of its network
        description="IP address to listen on",
    )
    health_port: int = Field(
        8081, ge=1, le=65535, description="TCP port for /healthz and /metrics, without TLS"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe level of the lines that are logged (JSON, on stderr)"
    )


def markdown_table() -> str:
    """Return the table of all settings for docs/controller.md."""
    # The version of the day would make every release touch the document.
    return settings.markdown_table(ControllerSettings).replace(f":v{_VERSION}`", ":v<version>`")


if __name__ == "__main__":
    print(markdown_table(), end="")  # noqa: T201 - prints what the documentation quotes
