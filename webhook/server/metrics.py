"""Figures for Prometheus; imported as serving.figures says."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

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
