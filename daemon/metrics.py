"""The daemon's figures, under upstream Spegel's names where upstream has them."""

from __future__ import annotations

from collections.abc import Sequence

import prometheus_client as prometheus
from prometheus_client import Counter, Gauge, Histogram

# As upstream has them: with other buckets, figures of a mixed cluster could not be added up.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SIZES = tuple(1024 * 5**power for power in range(10))
_REGISTRY_LABELS = 64

prometheus.disable_created_metrics()


class Metrics:
    """All metrics of one daemon, in a registry of their own."""

    def __init__(self, version: str) -> None:
        self.registry = prometheus.CollectorRegistry()
        self._registry_labels: set[str] = set()

        self.mirror_requests = self._counter(
            "spegel_mirror_requests", "Requests for content of other nodes.", "registry", "cache"
        )
        self.mirror_last_success = self._gauge(
            "spegel_mirror_last_success_timestamp_seconds", "When a peer last had what was asked for."
        )
        self.resolve_duration = self._histogram(
            "spegel_resolve_duration_seconds",
            "Time until the router found the first peer.",
            _SECONDS,
            "router",
        )
        self.router_peers = self._gauge("spegel_router_peers", "Other nodes in the routing table.")
        self.advertised_keys = self._gauge("spegel_advertised_keys", "Keys advertised.", "registry")
        self.advertised_tags = self._gauge(
            "spegel_advertised_image_tags", "Image tags advertised.", "registry"
        )
        self.advertised_images = self._gauge(
            "spegel_advertised_image_digests", "Image digests advertised.", "registry"
        )
        self.advertised_contents = self._gauge(
            "spegel_advertised_content_digests", "Content digests advertised.", "registry"
        )
        self.request_duration = self._histogram(
            "http_request_duration_seconds",
            "Time to answer a request.",
            _SECONDS,
            "handler",
            "method",
            "code",
        )
        self.response_size = self._histogram(
            "http_response_size_bytes", "Size of response bodies.", _SIZES, "handler", "method", "code"
        )
        self.requests_inflight = self._gauge("http_requests_inflight", "Requests being answered.", "handler")
        self.refused_connections = self._counter(
            "spegel_refused_connections",
            "Connections to the registry that were refused, by the limit that was reached.",
            "reason",
        )
        """``reason``: a value of ``daemon.http.limits.Scope``."""
        self.served_bytes = self._counter(
            "spegel_served_bytes",
            "Body bytes sent to clients, by where they came from.",
            "registry",
            "source",
        )
        """``source``: ``local`` (to the node itself or to a peer, from the store) or ``peer`` (relayed)."""
        self.received_bytes = self._counter(
            "spegel_received_bytes", "Body bytes received from peers.", "registry"
        )
        self.peers_tried = self._histogram(
            "spegel_mirror_peers_tried",
            "Peers asked for one mirrored request.",
            (0, 1, 2, 3, 5, 8, 13),
            "cache",
        )
        self.resumed_transfers = self._counter(
            "spegel_mirror_resumed", "Transfers continued from another peer.", "registry"
        )
        self.event_lag = self._gauge(
            "spegel_store_event_lag_seconds",
            "Time from the last event of the store to what it said being advertised.",
        )
        self.store_errors = self._counter("spegel_store_errors", "Failed calls to the store.", "operation")
        build = self._gauge("spegel_build_info", "The running build.", "version")
        build.labels(version).set(1)
        prometheus.ProcessCollector(registry=self.registry)

    def registry_label(self, name: str) -> str:
        """Return a registry's name as a label.

        Strangers choose names: only the first few are kept apart, the rest is ``other``.
        """
        if name in self._registry_labels:
            return name
        if len(self._registry_labels) >= _REGISTRY_LABELS:
            return "other"
        self._registry_labels.add(name)
        return name

    def exposition(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return prometheus.generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=buckets)
