"""Figures for Prometheus, summed over the processes of a server.

The client library decides at import whether figures are shared (PROMETHEUS_MULTIPROC_DIR), so modules
that define figures are imported after the variable is set: in ``load`` of serving.server.serve.
"""

from __future__ import annotations

import os

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector


def exposition(accept: str, *collectors: Collector) -> tuple[bytes, str]:
    """Return the figures and their content type, in the format that an Accept header prefers.

    Args:
        accept: the header.
        collectors: of figures that are made when they are asked for, beside those that are shared.
    """
    registry = CollectorRegistry()
    shared = MultiProcessCollector(None) if "PROMETHEUS_MULTIPROC_DIR" in os.environ else REGISTRY
    for collector in (shared, *collectors):
        registry.register(collector)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
