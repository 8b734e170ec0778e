"""The figures' names, labels and buckets: dashboards that were made for upstream Spegel show them too."""

from __future__ import annotations

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from daemon.metrics import Metrics

_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, float("inf")]
_SIZES = [1024, 5120, 25600, 128000, 640000, 3.2e6, 1.6e7, 8e7, 4e8, 2e9, float("inf")]

UPSTREAM = {
    "spegel_mirror_requests": ("counter", {"registry", "cache"}, None),
    "spegel_mirror_last_success_timestamp_seconds": ("gauge", set(), None),
    "spegel_resolve_duration_seconds": ("histogram", {"router"}, _SECONDS),
    "spegel_advertised_image_tags": ("gauge", {"registry"}, None),
    "spegel_advertised_image_digests": ("gauge", {"registry"}, None),
    "spegel_advertised_content_digests": ("gauge", {"registry"}, None),
    "http_request_duration_seconds": ("histogram", {"handler", "method", "code"}, _SECONDS),
    "http_response_size_bytes": ("histogram", {"handler", "method", "code"}, _SIZES),
    "http_requests_inflight": ("gauge", {"handler"}, None),
}


def shown() -> dict[str, Metric]:
    """Return all families, each with one series."""
    metrics = Metrics("1.2.3")
    for metric in vars(metrics).values():
        if getattr(metric, "_labelnames", ()):
            child = metric.labels(*("x" for _ in metric._labelnames))
            child.observe(1) if hasattr(child, "observe") else child.inc()
    return {family.name: family for family in text_string_to_metric_families(metrics.exposition().decode())}


def test_upstreams_figures_have_upstreams_names_labels_and_buckets() -> None:
    families = shown()
    for name, (kind, labels, buckets) in UPSTREAM.items():
        family = families[name]
        assert family.type == kind, name
        assert {label for sample in family.samples for label in sample.labels} - {"le"} == labels, name
        bounds = [float(sample.labels["le"]) for sample in family.samples if "le" in sample.labels]
        assert bounds == (buckets or []), name


def test_further_figures_are_the_daemons_own_or_the_processs() -> None:
    assert {name.partition("_")[0] for name in shown().keys() - UPSTREAM.keys()} == {"spegel", "process"}


def test_a_counter_has_no_creation_time() -> None:
    assert not [name for name in shown() if name.endswith("_created")]
