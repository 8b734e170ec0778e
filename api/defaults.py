"""What unset fields of a SpegelConfig mean. The default ports are changed here and nowhere else."""

from __future__ import annotations

from api import v1alpha1
from api.config import SpegelConfig

# The newer revision of the proposal, GEP-0043, uses 15500, 15501 and 19090.
REGISTRY_PORT = 5000
ROUTER_PORT = 5001
METRICS_PORT = 9090

CILIUM = "cilium"
"""The networking type (spec.networking.type of a Shoot) whose agent needs a port of the nodes itself."""
CILIUM_AGENT_PORT = 9090
"""Where cilium-agent serves its metrics, on the network of the host."""
CILIUM_METRICS_PORT = 19090
"""The default of metricsPort on networking type cilium."""


def default(document: v1alpha1.SpegelConfig, networking_type: str | None) -> SpegelConfig:
    """Fill in what a document leaves unset.

    Args:
        document: the document; each of its fields may be unset.
        networking_type: spec.networking.type of the Shoot; None when unknown.
    """
    metrics_port = CILIUM_METRICS_PORT if networking_type == CILIUM else METRICS_PORT
    # A port of 0 does not reach this place: it is out of range.
    return SpegelConfig(
        registry_port=document.registry_port or REGISTRY_PORT,
        router_port=document.router_port or ROUTER_PORT,
        metrics_port=document.metrics_port or metrics_port,
        resolve_tags=True if document.resolve_tags is None else document.resolve_tags,
    )
