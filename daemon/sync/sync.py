"""Follows the store's events and keeps the router told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing

from prometheus_client import Gauge

from daemon.metrics import Metrics
from daemon.oci.digest import Digest
from daemon.oci.filters import Filters
from daemon.routing.base import Router
from daemon.store.base import Event, EventKind, NotFoundError, Store, StoreError
from daemon.sync.backlog import Backlog, Batch, Kind, Look
from daemon.sync.ledger import Counts, Ledger
from daemon.sync.reading import Reader

DEFAULT_INTERVAL = 60.0

_ROUTER_BATCH = 500

_log = logging.getLogger(__name__)


class Sync:
    """Advertises what the store has and withdraws what it has no more.

    Events are answered within a moment. Every ``interval`` seconds, and some time after images were deleted,
    the whole store is read and compared, since garbage collection tells nobody.
    """

    def __init__(
        self,
        store: Store,
        router: Router,
        filters: Filters,
        metrics: Metrics,
        *,
        observe: Callable[[Event], None] | None = None,
        interval: float = DEFAULT_INTERVAL,
    ) -> None:
        """Make it; ``observe`` is called with every event of the store, and for content found to be gone."""
        self._store = store
        self._router = router
        self._metrics = metrics
        self._observe = observe or (lambda _: None)
        self._reader = Reader(store, filters)
        self._ledger = Ledger()
        self._backlog = Backlog(interval)
        self._news = asyncio.Event()

    def advertises(self, digest: Digest) -> bool:
        """Tell whether content is there and belongs to an image, or comes from a repository, that passes."""
        return self._ledger.knows(digest)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            tasks.create_task(self._work())

    async def _follow(self) -> None:
        """Collect events, as fast as they come: a subscriber that is slow costs the store memory."""
        clock = asyncio.get_running_loop()
        async with aclosing(self._store.watch()) as events:
            async for event in events:
                due = self._backlog.due
                self._backlog.add(event, clock.time())
                self._observe(event)
                if self._backlog.due < due:
                    self._news.set()

    async def _work(self) -> None:
        clock = asyncio.get_running_loop()
        while True:
            while (due := self._backlog.due) > clock.time():
                self._news.clear()
                try:
                    async with asyncio.timeout_at(min(due, clock.time() + 3600)):
                        await self._news.wait()
                except TimeoutError:
                    pass
            batch = self._backlog.take(clock.time())
            done = await self._do(batch)
            await self._tell()
            if done and batch.since is not None:
                self._metrics.event_lag.set(clock.time() - batch.since)

    async def _do(self, batch: Batch) -> bool:
        """Bring the ledger up to date; False when the store failed and some of it is to be done later."""
        if batch.everything and not await self._read_everything(batch):
            return False
        return await self._look((*batch.images, *batch.contents))

    async def _read_everything(self, batch: Batch) -> bool:
        try:
            snapshot = await self._reader.everything()
        except StoreError as error:
            self._failed("list", error)
            self._backlog.read_everything(self._now(), batch.since)
            self._later(batch.contents)
            return False
        self._backlog.succeeded()
        for digest in self._ledger.replace(snapshot):
            self._observe(Event(EventKind.CONTENT_DELETED, digest=digest))
        return True

    async def _look(self, looks: Sequence[Look]) -> bool:
        for position, look in enumerate(looks):
            try:
                if look.kind is Kind.IMAGE:
                    await self._look_at_image(look)
                else:
                    await self._look_at_content(look)
            except StoreError as error:
                self._failed(look.kind.name.lower(), error)
                self._later(looks[position:])
                return False
        return True

    def _later(self, looks: Sequence[Look]) -> None:
        """Look again later; what was tried often enough is left to a complete reading."""
        given_up = [look for look in looks if not self._backlog.retry(look, self._now())]
        if given_up:
            self._backlog.read_everything(self._now(), min(look.since for look in given_up))

    async def _look_at_image(self, look: Look) -> None:
        try:
            found = await self._reader.image(look.what)
        except NotFoundError:
            self._ledger.remove_image(look.what)
            return
        if found is not None:
            holding, contents = found
            self._ledger.add_image(look.what, holding, contents)

    async def _look_at_content(self, look: Look) -> None:
        digest = Digest(look.what)
        try:
            registries = await self._reader.content(digest)
        except NotFoundError:
            self._ledger.remove_content(digest)
            self._observe(Event(EventKind.CONTENT_DELETED, digest=digest))
            return
        if registries:
            self._ledger.add_content(digest, registries)
        elif registries is None and not self._ledger.knows(digest):
            # containerd labels content with its source a moment after it reported it.
            self._backlog.retry(look, self._now())

    async def _tell(self) -> None:
        """Tell the router what has changed, and the metrics what is advertised."""
        changes = self._ledger.changes()
        await asyncio.sleep(0)
        for keys in _portions(changes.withdraw):
            await self._router.withdraw(keys)
        for keys in _portions(changes.advertise):
            await self._router.advertise(keys)
        self._ledger.confirm(changes)
        if changes.advertise or changes.withdraw:
            counts = (len(changes.advertise), len(changes.withdraw))
            _log.info("advertised %d keys more, withdrew %d", *counts)
        self._measure()

    def _measure(self) -> None:
        gauges: dict[Gauge, Callable[[Counts], int]] = {
            self._metrics.advertised_keys: lambda counts: counts.keys,
            self._metrics.advertised_tags: lambda counts: counts.tags,
            self._metrics.advertised_images: lambda counts: counts.images,
            self._metrics.advertised_contents: lambda counts: counts.contents,
        }
        by_registry = self._ledger.counts()
        for gauge, figure in gauges.items():
            gauge.clear()
            for registry, counts in by_registry.items():
                gauge.labels(self._metrics.registry_label(registry)).inc(figure(counts))

    def _failed(self, operation: str, error: StoreError) -> None:
        self._metrics.store_errors.labels(operation).inc()
        _log.warning("the store cannot be read, next try soon: %s", error)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _portions(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    return (keys[start : start + _ROUTER_BATCH] for start in range(0, len(keys), _ROUTER_BATCH))
