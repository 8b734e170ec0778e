"""What is written to the status of an Extension: merge patches for its status subresource.

gardenlet waits until there is no lastError, observedGeneration is the generation, the operation has
succeeded, and its lastUpdateTime, in seconds, is not before the time at which it was asked for.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from controller.lifecycle.extension import Object, asked_at, format_time, last_operation
from controller.lifecycle.operation import Operation

CONFIGURATION_PROBLEM = "ERR_CONFIGURATION_PROBLEM"
"""Code of an error that only a user can mend; gardenlet stops trying until somebody changes the Shoot."""

_PROGRESS = {"Processing": 1, "Error": 50, "Succeeded": 100}

Patch = dict[str, Any]


def processing(extension: Object, operation: Operation, description: str, now: datetime) -> Patch:
    """Say that an operation is under way; an error of an earlier attempt stays until it has succeeded."""
    return {"status": _operation(extension, operation, "Processing", description, now)}


def failed(
    extension: Object, operation: Operation, description: str, code: str | None, now: datetime
) -> Patch:
    """Say that an operation has failed, for now."""
    # A merge patch would keep the codes of the error before.
    error = {"description": description, "codes": code and [code], "lastUpdateTime": format_time(now)}
    return {
        "status": {
            **_operation(extension, operation, "Error", description, now),
            "observedGeneration": extension["metadata"].get("generation"),
            "lastError": error,
        }
    }


def succeeded(extension: Object, operation: Operation, description: str, now: datetime) -> Patch:
    """Say that an operation has succeeded on the object as it was when the operation began."""
    return {
        "status": {
            **_operation(extension, operation, "Succeeded", description, now),
            "observedGeneration": extension["metadata"].get("generation"),
            "lastError": None,
        }
    }


def shown_state(extension: Object) -> str:
    """Return the state under which figures count an Extension.

    An error stays until all is well, since an attempt that is under way does not mend it yet.

    Returns:
        ``Misconfigured`` for an error that a user has to mend, ``Error`` for another one, else the state of
        the last operation, ``none`` before the first.
    """
    error = (extension.get("status") or {}).get("lastError")
    if error:
        return "Misconfigured" if CONFIGURATION_PROBLEM in (error.get("codes") or ()) else "Error"
    return str((last_operation(extension) or {}).get("state") or "none")


def _operation(extension: Object, operation: Operation, state: str, description: str, now: datetime) -> Patch:
    asked = asked_at(extension)
    # gardenlet's clock may be ahead of ours, and it would wait for us in vain.
    time = now if asked is None else max(now, asked)
    return {
        "lastOperation": {
            "type": operation.value,
            "state": state,
            "progress": _PROGRESS[state],
            "description": description,
            "lastUpdateTime": format_time(time),
        }
    }
