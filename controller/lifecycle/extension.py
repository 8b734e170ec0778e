"""An Extension as Gardener writes it: names that the contract fixes, and what is read of it.

Source: the API group extensions.gardener.cloud/v1alpha1 and the contract between gardenlet and extensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

API_VERSION = "extensions.gardener.cloud/v1alpha1"
TYPE = "registry-spegel"
CLASS = "shoot"
FINALIZER = f"extensions.gardener.cloud/{TYPE}"

OPERATION = "gardener.cloud/operation"
"""Annotation by which gardenlet asks for something; gone when it has been taken up, or done."""
TIMESTAMP = "gardener.cloud/timestamp"
"""Annotation that says when it asked, RFC 3339 with up to nine digits of a second."""
FORCE_DELETION = "confirmation.gardener.cloud/force-deletion"
"""Annotation of a Shoot whose own API server may be beyond help."""

Object = Mapping[str, Any]


def is_ours(extension: Object) -> bool:
    """Tell whether this controller is responsible; without a class an Extension belongs to a shoot."""
    spec = extension.get("spec") or {}
    return spec.get("type") == TYPE and (spec.get("class") or CLASS) == CLASS


def annotation(extension: Object, name: str) -> str | None:
    """Return the value of an annotation."""
    value = ((extension.get("metadata") or {}).get("annotations") or {}).get(name)
    return None if value is None else str(value)


def is_deleting(extension: Object) -> bool:
    """Tell whether somebody has asked for its deletion."""
    return bool((extension.get("metadata") or {}).get("deletionTimestamp"))


def has_finalizer(extension: Object) -> bool:
    """Tell whether it waits for this controller before it goes."""
    return FINALIZER in ((extension.get("metadata") or {}).get("finalizers") or ())


def last_operation(extension: Object) -> Object | None:
    """Return ``status.lastOperation``."""
    found = (extension.get("status") or {}).get("lastOperation")
    return found if isinstance(found, Mapping) else None


def asked_at(extension: Object) -> datetime | None:
    """Return when gardenlet last asked for something, in whole seconds, or None when it does not say."""
    return parse_time(annotation(extension, TIMESTAMP))


def parse_time(text: object) -> datetime | None:
    """Return an RFC 3339 time in whole seconds, cut off and not rounded; None for what is no time."""
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    if time.tzinfo is None:
        return None
    return time.astimezone(UTC).replace(microsecond=0)


def format_time(time: datetime) -> str:
    """Return a time as Kubernetes writes it, in whole seconds."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
