"""Node objects as the tests need them."""

from __future__ import annotations

from typing import Any


def node(
    name: str,
    *addresses: str,
    ready: bool | None = True,
    created: str = "2026-01-01T00:00:00Z",
    since: str = "2026-01-01T00:00:00Z",
    zone: str | None = None,
    taints: tuple[str, ...] = (),
    **metadata: Any,
) -> dict[str, Any]:
    """A Node; ``ready=None`` is one whose kubelet has not said anything yet."""
    labels = {"kubernetes.io/hostname": name}
    if zone:
        labels["topology.kubernetes.io/zone"] = zone
    conditions = [{"type": "MemoryPressure", "status": "False", "lastTransitionTime": since}]
    if ready is not None:
        conditions.append({"type": "Ready", "status": str(ready), "lastTransitionTime": since})
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "creationTimestamp": created, "labels": labels} | metadata,
        "spec": {"taints": [{"key": key, "effect": "NoSchedule"} for key in taints]},
        "status": {
            "addresses": [
                {"type": "Hostname", "address": name},
                {"type": "ExternalIP", "address": "203.0.113.1"},
                *({"type": "InternalIP", "address": address} for address in addresses),
            ],
            "conditions": conditions,
        },
    }
