"""Figures for Prometheus, summed over the processes of the server.

The client library decides at import whether figures are shared (PROMETHEUS_MULTIPROC_DIR), so this
module is imported after the variable is set.
"""

from __future__ import annotations

import os

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector

_PREFIX = "registry_spegel_webhook_"

ADMISSIONS = Counter(
    _PREFIX + "admissions",
    "Admission requests answered, by what came of them.",
    ["webhook", "outcome"],
)
DURATION = Histogram(
    _PREFIX + "admission_duration_seconds",
    "Time from the whole request to the whole answer.",
    ["webhook"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
PATCH_BYTES = Histogram(
    _PREFIX + "patch_bytes",
    "Size of the JSON patches sent.",
    buckets=[1 << power for power in range(10, 23)],
)
CONTEXT_READS = Counter(
    _PREFIX + "context_reads",
    "Sets of objects of a shoot read from the API server, by what came of it; cached ones do not count.",
    ["outcome"],
)
CERTIFICATE_EXPIRY = Gauge(
    _PREFIX + "certificate_expiry_timestamp_seconds",
    "When the serving certificate that was loaded last ends.",
    multiprocess_mode="livemostrecent",  # of a process that has just begun it would still be 0
)


def exposition(accept: str) -> tuple[bytes, str]:
    """Return the figures and their content type, in the format that an Accept header prefers."""
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
