"""What whoever runs the controller on a seed can choose about the objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Exposure(StrEnum):
    """Who passes connections of nodes on to the bootstrapper, TLS untouched."""

    ISTIO = "istio"
    NGINX = "nginx"


@dataclass(frozen=True, slots=True)
class Options:
    """The same for all shoots of a seed."""

    bootstrapper_image: str
    exposure: Exposure
    istio_namespace: str
    """Where the seed's ingress gateway runs."""
    istio_labels: Mapping[str, str]
    """Of its pods."""
    host_prefix: str
