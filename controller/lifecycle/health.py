"""The conditions of an Extension, made of the conditions of its ManagedResources.

gardenlet merges them into the Shoot's conditions of the same type.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from controller.lifecycle.extension import (
    OPERATION,
    Object,
    annotation,
    format_time,
    is_deleting,
    last_operation,
)
from controller.lifecycle.operation import MIGRATE, Operation

CARE_LABEL = "care.gardener.cloud/condition-type"
"""Label of a ManagedResource that names the condition it counts for."""
CONTROL_PLANE = "ControlPlaneHealthy"
SYSTEM_COMPONENTS = "SystemComponentsHealthy"
OBSERVABILITY = "ObservabilityComponentsHealthy"
TYPES = (CONTROL_PLANE, SYSTEM_COMPONENTS, OBSERVABILITY)

Condition = dict[str, Any]


def is_checked(extension: Object) -> bool:
    """Tell whether an Extension is checked: not while it goes, be it away or to another seed."""
    last = last_operation(extension)
    return (
        not is_deleting(extension)
        and annotation(extension, OPERATION) != MIGRATE
        and last is not None
        and last.get("type") != Operation.MIGRATE
    )


def conditions(
    extension: Object, managed_resources: Sequence[Object], *, hibernated: bool, now: datetime
) -> list[Condition]:
    """Return ``status.conditions`` as it should be; those of other types are kept as they are.

    Args:
        extension: the Extension with the conditions it has so far.
        managed_resources: those that were made for it.
        hibernated: whether the shoot sleeps, so that nothing in it can be judged.
        now: the time of the check. A condition that stays as it was keeps its times.
    """
    present = [dict(condition) for condition in (extension.get("status") or {}).get("conditions") or ()]
    before = {condition.get("type"): condition for condition in present}
    checked = {
        kind: [resource for resource in managed_resources if _condition_type(resource) == kind]
        for kind in TYPES
    }
    made = [
        _merged(before.get(kind), kind, _judgement(resources, hibernated=hibernated), now)
        for kind, resources in checked.items()
        if resources
    ]
    return [condition for condition in present if condition.get("type") not in TYPES] + made


def _condition_type(resource: Object) -> str:
    label = (resource["metadata"].get("labels") or {}).get(CARE_LABEL)
    if label:
        return str(label)
    return CONTROL_PLANE if (resource.get("spec") or {}).get("class") else SYSTEM_COMPONENTS


def _judgement(resources: Iterable[Object], *, hibernated: bool) -> tuple[str, str, str]:
    """Return status, reason and message."""
    if hibernated:
        return "True", "HealthCheckSuccessful", "Shoot is hibernated"
    troubles = [trouble for resource in resources if (trouble := _trouble(resource))]
    for status, reason in (("False", "HealthCheckUnsuccessful"), ("Progressing", "HealthCheckProgressing")):
        messages = [message for found, message in troubles if found == status]
        if messages:
            return status, reason, "; ".join(messages)
    return "True", "HealthCheckSuccessful", "All health checks successful"


def _trouble(resource: Object) -> tuple[str, str] | None:
    """Return what is not as it should be with a ManagedResource, or None."""
    name = resource["metadata"]["name"]
    status: Mapping[str, Any] = resource.get("status") or {}
    if status.get("observedGeneration") != resource["metadata"].get("generation"):
        return "Progressing", f"ManagedResource {name}: not yet seen by the resource manager"
    found = {condition.get("type"): condition for condition in status.get("conditions") or ()}
    for kind in ("ResourcesApplied", "ResourcesHealthy"):
        condition = found.get(kind) or {}
        state = condition.get("status", "Unknown")
        if state != "True":
            outcome = "Progressing" if state in {"Unknown", "Progressing"} else "False"
            detail = condition.get("message") or condition.get("reason") or "not yet known"
            return outcome, f"ManagedResource {name}: {kind} is {state}: {detail}"
    rollout = found.get("ResourcesProgressing") or {}
    if rollout.get("status") == "True":
        return "Progressing", f"ManagedResource {name}: {rollout.get('message') or 'being rolled out'}"
    return None


def _merged(
    before: Mapping[str, Any] | None, kind: str, judgement: tuple[str, str, str], now: datetime
) -> Condition:
    status, reason, message = judgement
    time = format_time(now)
    if before is None or before.get("status") != status:
        changed = time
    else:
        changed = before.get("lastTransitionTime", time)
    same = (
        before is not None
        and (before.get("status"), before.get("reason"), before.get("message")) == judgement
    )
    updated = (before or {}).get("lastUpdateTime", time) if same else time
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": changed,
        "lastUpdateTime": updated,
    }
