"""Figures for Prometheus; imported as serving.figures says."""

import math
from collections.abc import Iterator

from prometheus_client import Counter, Gauge, Histogram, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from bootstrapper.publication import Publication

_PREFIX = "registry_spegel_bootstrapper_"

REQUESTS = Counter(_PREFIX + "requests", "Requests answered, by path and status.", ["path", "code"])
DURATION = Histogram(
    _PREFIX + "request_duration_seconds",
    "Time from the whole request to the answer.",
    ["path"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1),
)
REFUSED = Counter(
    _PREFIX + "refused_connections",
    "Connections of nodes that ended before their first request, by reason.",
    ["reason"],
)
FAILURES = Counter(
    _PREFIX + "source_failures",
    "Times that the source of nodes had no news, by reason: the API server was away, or refused to answer.",
    ["reason"],
)
CERTIFICATE_EXPIRY = Gauge(
    _PREFIX + "certificate_expiry_timestamp_seconds",
    "When the serving certificate that was loaded last ends.",
    multiprocess_mode="livemostrecent",  # of a process that has just begun it would still be 0
)
CLIENT_CERTIFICATE_EXPIRY = Gauge(
    _PREFIX + "client_certificate_expiry_timestamp_seconds",
    "When the first of the certificates that clients have shown in the last two hours ends; infinite when "
    "there was none.",
    multiprocess_mode="livemin",
)
CLIENT_CERTIFICATE_EXPIRY.set(math.inf)


class Published(Collector):
    """Figures about what is served now, made when they are asked for."""

    def __init__(self, publication: Publication) -> None:
        self._publication = publication

    def collect(self) -> Iterator[Metric]:
        """Yield the families; without any node read yet, none."""
        age = self._publication.age()
        if age is not None:
            yield GaugeMetricFamily(
                _PREFIX + "answer_age_seconds",
                "Time since the source last confirmed what is served; grows while the API server is away.",
                value=age,
            )
        answers = self._publication.answers()
        if answers is not None:
            family = GaugeMetricFamily(
                _PREFIX + "nodes", "Nodes of the cluster, by their place in the order.", labels=["rank"]
            )
            for rank, count in answers.counts.items():
                family.add_metric([rank], count)
            yield family
