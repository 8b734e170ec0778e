"""The TCP ports that others hold on the nodes of a shoot.

Only what binds on the host's network counts: ports of the pod network (registry-cache, node-problem-detector)
are free for a process of the host. Sources are the components in gardener/gardener and the charts of its
networking extensions. Two ports are left out on purpose: 10255, kubelet's read-only port, which Gardener
switches off, and cilium-agent's 9090, which the API itself refuses because its defaults depend on it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Holder:
    """A program and the ports that it binds on every node, or on any node that it may run on."""

    name: str
    ports: Collection[int]
    networking_type: str | None = None
    """Only on shoots with this spec.networking.type; None: on all."""


HOLDERS = (
    Holder("sshd", {22}),
    Holder("node-local-dns", {53, 8053, 8099, 9253, 9353}),
    Holder("apiserver-proxy", {443, 16910}),
    Holder("gardener-node-agent", {2751, 2752}),
    Holder("valitail", {3001}),
    Holder("opentelemetry-collector", {18888}),
    Holder("kubelet", {10248, 10250}),
    Holder("kube-proxy", {10249, 10256}),
    Holder("node-exporter", {16909}),
    Holder("services of type NodePort (30000-32767)", range(30000, 32768)),
    Holder("cilium-agent", {4240, 4244, 9091, 9879}, "cilium"),
    Holder("cilium-operator", {6942, 9234}, "cilium"),
    Holder("calico-node", {179, 9091, 9099}, "calico"),
    Holder("calico-typha", {5473, 9093, 9098}, "calico"),
)


def holder(port: int, networking_type: str | None) -> str | None:
    """Return the name of what holds the port on nodes of that networking type; None when it is free."""
    for candidate in HOLDERS:
        if port in candidate.ports and candidate.networking_type in {None, networking_type}:
            return candidate.name
    return None
