"""What ``POST /webhooks/validate-shoot`` decides about a write of a Shoot."""

from __future__ import annotations

import api
from webhook.admission.review import Decision, Kind, Request, Resource
from webhook.validation import validate

KIND = Kind("core.gardener.cloud", "v1beta1", "Shoot")
RESOURCE = Resource("core.gardener.cloud", "v1beta1", "shoots")


def decide(request: Request) -> Decision:
    """Answer a request: deny with every field error at once."""
    if request.kind != KIND or request.resource != RESOURCE or request.sub_resource:
        return Decision.skip(f"registry-spegel does not handle {request.subject}")
    if request.operation not in ("CREATE", "UPDATE"):
        return Decision.skip(f"registry-spegel does not handle {request.subject}")
    if request.object is None:
        return Decision.deny("request.object: must be the Shoot, not null", code=422)
    try:
        findings = validate(request.object, old=request.old_object)
    except RecursionError:
        return Decision.deny("the Shoot is nested too deeply", code=422)
    if findings.errors:
        return Decision.deny(str(api.InvalidObject(findings.errors)), code=422, warnings=findings.warnings)
    return Decision("allowed", warnings=findings.warnings)
