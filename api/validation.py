"""What is wrong with a SpegelConfig whose fields are right one by one: judged after defaulting."""

from __future__ import annotations

from collections.abc import Collection

from api import v1alpha1
from api.config import SpegelConfig
from api.defaults import CILIUM, CILIUM_AGENT_PORT, CILIUM_METRICS_PORT
from api.field import ErrorType, FieldError, child


def validate(
    document: v1alpha1.SpegelConfig,
    config: SpegelConfig,
    *,
    wrong: Collection[str],
    path: str,
    networking_type: str | None,
) -> list[FieldError]:
    """Find ports that clash with each other or with cilium-agent.

    Every error stands at a field that the document sets, as that is the one its author knows of.

    Args:
        document: as written, to tell what was set from what was defaulted.
        config: the same with defaults.
        wrong: the names of fields that have errors already: their defaults stand for nothing.
        path: where the document stands in the object around it.
        networking_type: spec.networking.type of the Shoot; None when unknown.
    """
    explicit = {name: port for name, port in document.ports.items() if port is not None}
    holders = {
        port: f"already the default of {name}; set {name} too, or choose another port"
        for name, port in config.ports.items()
        if name not in explicit and name not in wrong
    }
    errors = []
    for name, port in explicit.items():
        where = child(path, name)
        if networking_type == CILIUM and port == CILIUM_AGENT_PORT:
            detail = (
                "is held by cilium-agent on the nodes of shoots with networking type cilium"
                f" (the default of metricsPort is {CILIUM_METRICS_PORT} there)"
            )
            errors.append(FieldError(where, ErrorType.INVALID, port, detail))
        if port in holders:
            errors.append(FieldError(where, ErrorType.DUPLICATE, port, holders[port]))
        else:
            holders[port] = f"already the port of {name}"
    return errors
