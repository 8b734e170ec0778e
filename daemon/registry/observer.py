"""Metrics of requests, under upstream's names and labels, and their log."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from daemon.http.limits import Scope
from daemon.http.message import Request, Response

if TYPE_CHECKING:
    from prometheus_client import Counter, Gauge, Histogram

    from daemon.metrics import Metrics

logger = logging.getLogger(__name__)

_ROUTES = frozenset({"/", "/livez", "/readyz"})
_REGISTRY_ROUTE = "/v2/*"
_OTHER = "other"


class RequestObserver:
    """Counts every request and logs it at debug."""

    def __init__(self, metrics: Metrics) -> None:
        """Count into these metrics."""
        self._metrics = metrics
        # Looking labels up costs more than counting.
        self._in_flight: dict[str, Gauge] = {}
        self._served: dict[str, Counter] = {}
        self._histograms: dict[tuple[str, str, HTTPStatus], tuple[Histogram, Histogram]] = {}
        for scope in Scope:
            metrics.refused_connections.labels(scope.value)  # 0 until there are some

    def begin(self, request: Request) -> None:
        """Count a request as being answered."""
        self._gauge(_route(request.path)).inc()

    def end(self, request: Request, response: Response, seconds: float, *, complete: bool) -> None:
        """Count it as answered, or as cut."""
        route = _route(request.path)
        self._gauge(route).dec()
        body = response.body
        if isinstance(body, bytes):
            size = len(body) if complete and request.method != "HEAD" else 0
        else:
            size = body.sent
        duration, sizes = self._pair(route, request.method, response.status)
        duration.observe(seconds)
        sizes.observe(size)
        attributes = response.attributes
        if isinstance(body, bytes) and size and attributes.get("source") == "local":
            self._local(attributes.get("registry", "")).inc(size)
        if logger.isEnabledFor(logging.DEBUG):
            fields = {
                "handler": attributes.get("handler", _OTHER),
                "method": request.method,
                "path": request.path,
                "status": response.status.value,
                "bytes": size,
                "duration": round(seconds, 6),
                "ip": request.client,
                "registry": attributes.get("registry", ""),
                "source": attributes.get("source", ""),
            }
            logger.debug("request answered" if complete else "request cut", extra=fields)

    def refused(self, client: str, status: HTTPStatus, message: str) -> None:
        """Count and log what was no acceptable request."""
        duration, sizes = self._pair(_OTHER, _OTHER, status)
        duration.observe(0)
        sizes.observe(0)
        logger.debug("request refused", extra={"status": status.value, "ip": client, "reason": message})

    def turned_away(self, scope: Scope) -> None:
        """Count a refused connection; the server logs it."""
        self._metrics.refused_connections.labels(scope.value).inc()

    def _gauge(self, route: str) -> Gauge:
        gauge = self._in_flight.get(route)
        if gauge is None:
            gauge = self._in_flight[route] = self._metrics.requests_inflight.labels(route)
        return gauge

    def _local(self, registry: str) -> Counter:
        label = self._metrics.registry_label(registry)
        counter = self._served.get(label)
        if counter is None:
            counter = self._served[label] = self._metrics.served_bytes.labels(label, "local")
        return counter

    def _pair(self, route: str, method: str, status: HTTPStatus) -> tuple[Histogram, Histogram]:
        key = (route, method, status)
        pair = self._histograms.get(key)
        if pair is None:
            labels = (route, method, str(status.value))
            pair = self._histograms[key] = (
                self._metrics.request_duration.labels(*labels),
                self._metrics.response_size.labels(*labels),
            )
        return pair


def _route(path: str) -> str:
    if path in _ROUTES:
        return path
    return _REGISTRY_ROUTE if path == "/v2" or path.startswith("/v2/") else _OTHER
