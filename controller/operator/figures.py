"""Figures for Prometheus. All replicas have them; those about the work are the leader's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from prometheus_client import Counter, Gauge, Histogram

from controller.lifecycle.operation import Operation

_PREFIX = "registry_spegel_controller_"

_ATTEMPTS = Counter(
    _PREFIX + "reconciliations",
    "Attempts at what Extensions asked for, by what came of them: succeeded, waiting (for objects to go), "
    "skipped, failed, invalid (a providerConfig that a user has to mend), interrupted.",
    ["operation", "result"],
)
_DURATION = Histogram(
    _PREFIX + "reconciliation_duration_seconds",
    "Time that an attempt took.",
    ["operation"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60),
)
_LAST_SUCCESS = Gauge(
    _PREFIX + "last_success_timestamp_seconds", "When an operation last succeeded.", ["operation"]
)
_QUEUE = Gauge(
    _PREFIX + "queue_length",
    "Extensions to be worked on, by state: working, waiting (due, but all workers are busy), later (an "
    "attempt failed, or waits for objects to go).",
    ["state"],
)
_EXTENSIONS = Gauge(
    _PREFIX + "extensions",
    "Extensions of this type on the seed, by the state of their last operation; Misconfigured is an Error "
    "that a user has to mend.",
    ["state"],
)
_LEADER = Gauge(_PREFIX + "leader", "1 on the replica that works, 0 on the others.")
_CERTIFICATE_EXPIRY = Gauge(
    _PREFIX + "certificate_expiry_timestamp_seconds",
    "When the certificate of a kind that ends first does: of the webhook and of its authority, and, of all "
    "shoots, of the nodes, the bootstrappers and their authorities.",
    ["certificate"],
)

_RESULTS = ("succeeded", "waiting", "skipped", "failed", "invalid", "interrupted")
_STATES = ("Processing", "Succeeded", "Error", "Misconfigured", "none")

for _operation in Operation:
    for _result in _RESULTS:  # or the first failure would be no increase
        _ATTEMPTS.labels(_operation.value, _result)


class Outcome:
    """What came of an attempt; a failure unless said otherwise."""

    result = "failed"


@contextmanager
def attempt(operation: Operation) -> Iterator[Outcome]:
    """Count an attempt and the time that it takes."""
    outcome = Outcome()
    began = time.perf_counter()
    try:
        yield outcome
    except asyncio.CancelledError:
        outcome.result = "interrupted"
        raise
    finally:
        _ATTEMPTS.labels(operation.value, outcome.result).inc()
        _DURATION.labels(operation.value).observe(time.perf_counter() - began)
        if outcome.result == "succeeded":
            _LAST_SUCCESS.labels(operation.value).set_to_current_time()


def show(queue: Mapping[str, int], extensions: Mapping[str, int]) -> None:
    """Take what is to be worked on, and how many Extensions there are of each state."""
    for state in ("working", "waiting", "later"):
        _QUEUE.labels(state).set(queue.get(state, 0))
    for state in _STATES:
        _EXTENSIONS.labels(state).set(extensions.get(state, 0))


def show_end(certificate: str, end: datetime | None) -> None:
    """Say when a certificate ends; None when there is none."""
    if end is None:
        _CERTIFICATE_EXPIRY.remove(certificate)
    else:
        _CERTIFICATE_EXPIRY.labels(certificate).set(end.timestamp())


@contextmanager
def leading() -> Iterator[None]:
    """Say that this replica leads meanwhile. What only a leader knows is forgotten afterwards."""
    _LEADER.set(1)
    try:
        yield
    finally:
        _LEADER.set(0)
        _CERTIFICATE_EXPIRY.clear()
