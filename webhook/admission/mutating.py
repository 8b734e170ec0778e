"""What ``POST /webhooks/registry-spegel`` decides about a write of an OperatingSystemConfig."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from webhook.admission.review import Decision, Kind, Request, Resource
from webhook.context.landscape import LandscapeError
from webhook.context.resolve import ContextError, Resolved, Skip
from webhook.mutation import MutationError, is_candidate, mutate

KIND = Kind("extensions.gardener.cloud", "v1alpha1", "OperatingSystemConfig")
RESOURCE = Resource("extensions.gardener.cloud", "v1alpha1", "operatingsystemconfigs")

Contexts = Callable[[str], Resolved | Skip]
"""From a namespace to the context of its shoot; see webhook.context.resolve for what it raises."""

_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def decide(request: Request, contexts: Contexts) -> Decision:
    """Answer a request; ``contexts`` is asked only when the OperatingSystemConfig is to be mutated."""
    if request.kind != KIND or request.resource != RESOURCE or request.sub_resource:
        return Decision.skip(f"registry-spegel does not handle {request.subject}")
    if request.operation not in ("CREATE", "UPDATE"):
        return Decision.skip(f"registry-spegel does not handle {request.subject}")
    osc = request.object
    if osc is None:
        return Decision.deny("request.object: must be the OperatingSystemConfig, not null", code=422)
    try:
        if not is_candidate(osc):
            return Decision.skip()
        if not _NAMESPACE.fullmatch(request.namespace):
            return Decision.deny(f"request.namespace: not a namespace: {request.namespace[:63]!r}", code=422)
        return _mutate(osc, contexts(request.namespace))
    except LandscapeError as error:
        return Decision.deny(str(error), code=500)
    except (ContextError, MutationError) as error:
        return Decision.deny(str(error), code=422)
    except RecursionError:
        return Decision.deny("the OperatingSystemConfig is nested too deeply", code=422)


def _mutate(osc: Mapping[str, Any], context: Resolved | Skip) -> Decision:
    if isinstance(context, Skip):
        return Decision.skip(context.warning)
    mutation = mutate(osc, context.context)
    warnings = (*context.warnings, *mutation.warnings)
    if not mutation.patch:
        return Decision("unchanged", warnings=warnings)
    patch = json.dumps(mutation.patch, separators=(",", ":"), allow_nan=False).encode("ascii")
    return Decision("patched", patch=patch, warnings=warnings)
