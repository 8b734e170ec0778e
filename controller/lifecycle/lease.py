"""What a Lease (coordination.k8s.io/v1) says, and what to write into it.

Clocks of different machines are never compared: a holder counts as gone when its record has not changed for
as long as it said, by the clock of the one who watches.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from controller.lifecycle.extension import Object

API_VERSION = "coordination.k8s.io/v1"

Spec = dict[str, Any]


def heartbeat(holder: str, seconds: int, now: datetime) -> Spec:
    """Return the spec of a Lease that only says that its holder is alive."""
    return {"holderIdentity": holder, "leaseDurationSeconds": seconds, "renewTime": _micro_time(now)}


def claim(
    spec: Object | None, me: str, *, unchanged_seconds: float, seconds: int, now: datetime
) -> Spec | None:
    """Return the spec with which to become or stay the leader, or None while another leads.

    Args:
        spec: that of the Lease, None when there is no Lease yet.
        me: identity of this replica.
        unchanged_seconds: time for which this replica has seen the record as it is.
        seconds: after which this replica counts as gone when it does not renew.
        now: written into the record, for people.
    """
    spec = spec or {}
    holder = spec.get("holderIdentity") or ""
    if holder not in {me, ""} and unchanged_seconds < (spec.get("leaseDurationSeconds") or seconds):
        return None
    time = _micro_time(now)
    renewed = {"holderIdentity": me, "leaseDurationSeconds": seconds, "renewTime": time}
    if holder == me:
        return {**spec, **renewed}
    transitions = (spec.get("leaseTransitions") or 0) + (1 if spec else 0)
    return {**renewed, "acquireTime": time, "leaseTransitions": transitions}


def release(spec: Object) -> Spec:
    """Return the spec that lets the next replica lead at once."""
    return {**spec, "holderIdentity": ""}


def _micro_time(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
