"""What one mirrored request leaves in the metrics and in the history."""

from __future__ import annotations

import asyncio
import time
from functools import cached_property
from typing import TYPE_CHECKING

from daemon.mirror.history import Outcome, Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prometheus_client import Counter

    from daemon.metrics import Metrics
    from daemon.mirror.history import History
    from daemon.mirror.wanted import Wanted


class Journal:
    """Keeps count for one request, from its start on."""

    def __init__(self, wanted: Wanted, history: History, metrics: Metrics) -> None:
        """Start the request's clock."""
        self._wanted = wanted
        self._history = history
        self._metrics = metrics
        self._registry = metrics.registry_label(wanted.registry)
        self._time = time.time()
        self._started = asyncio.get_running_loop().time()
        self._tried = 0
        self._bytes = 0

    @cached_property
    def _received(self) -> Counter:
        return self._metrics.received_bytes.labels(self._registry)

    @cached_property
    def _served(self) -> Counter:
        return self._metrics.served_bytes.labels(self._registry, "peer")

    def missed(self, tried: int) -> None:
        """Note that no peer answered."""
        self._found("miss", tried)
        self.ended(Outcome.MISS, [])

    def answered(self, tried: int) -> None:
        """Note that a peer answered."""
        self._found("hit", tried)
        self._metrics.mirror_last_success.set_to_current_time()

    def moved(self, count: int) -> None:
        """Note bytes that came from a peer and went to the client."""
        self._bytes += count
        self._received.inc(count)
        self._served.inc(count)

    def resumed(self) -> None:
        """Note that another peer went on."""
        self._metrics.resumed_transfers.labels(self._registry).inc()

    def ended(self, outcome: Outcome, sources: Sequence[str]) -> None:
        """Note the end."""
        wanted = self._wanted
        seconds = asyncio.get_running_loop().time() - self._started
        self._history.add(
            Record(
                time=self._time,
                method=wanted.method,
                kind=wanted.kind,
                registry=wanted.registry,
                name=wanted.name,
                reference=wanted.reference,
                outcome=outcome,
                peers=tuple(sources),
                tried=self._tried,
                bytes=self._bytes,
                seconds=seconds,
            )
        )

    def _found(self, cache: str, tried: int) -> None:
        self._tried = tried
        self._metrics.mirror_requests.labels(self._registry, cache).inc()
        self._metrics.peers_tried.labels(cache).observe(tried)
