"""All Extensions of a seed that are ours: which are to be worked on, and their health."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from controller.lifecycle import health
from controller.lifecycle.extension import is_ours
from controller.lifecycle.operation import Trigger, is_due, operation_of, trigger
from controller.lifecycle.status import shown_state
from controller.objects import names
from controller.operator import figures
from controller.operator.client import ApiError, Client, ConflictError, NotFoundError, Object
from controller.operator.queue import Queue
from controller.operator.reconciler import FailedError, Reconciler
from controller.operator.resources import CLUSTER, EXTENSION, MANAGED_RESOURCE

_CHECKED_EACH_SECONDS = 30
_log = logging.getLogger(__name__)

Key = tuple[str, str]
"""Namespace and name."""


class Extensions:
    """What is known of them, by the watch; the leader works on them."""

    def __init__(self, client: Client, reconciler: Reconciler, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._reconciler = reconciler
        self._clock = clock
        self._known: dict[Key, Object] = {}
        self._term: _Term | None = None

    def see(self, event: str | None, extension: Mapping[str, Any]) -> None:
        """Take note of an Extension as a watch, or a list, has it now.

        Args:
            event: DELETED, or anything else when it exists.
            extension: the whole object.
        """
        key = (extension["metadata"]["namespace"], extension["metadata"]["name"])
        if event == "DELETED" or not is_ours(extension):
            self._known.pop(key, None)
            return
        is_new = key not in self._known
        self._known[key] = dict(extension)
        if self._term is not None:
            self._term.consider(key, extension, first=is_new)

    async def work(self, workers: int) -> None:
        """Work on what is due, and on what becomes due, until cancelled."""
        term = self._term = _Term(self._client, self._reconciler)
        try:
            for key, extension in self._known.items():
                term.consider(key, extension, first=True)
            await term.queue.run(workers)
        finally:
            self._term = None

    @property
    def namespaces(self) -> list[str]:
        """Those that have an Extension of ours."""
        return [namespace for namespace, _ in self._known]

    def show(self) -> None:
        """Put the figures about Extensions in order."""
        states = Counter(shown_state(extension) for extension in self._known.values())
        figures.show(self._term.queue.lengths() if self._term else {}, states)

    async def check(self) -> None:
        """Keep the conditions up to date until cancelled."""
        while True:
            try:
                await self.check_once()
            except ApiError as error:
                _log.warning("health: %s", error)
            except Exception:  # noqa: BLE001 - a mistake of ours here must not stop the work itself
                _log.exception("health")
            await asyncio.sleep(_CHECKED_EACH_SECONDS)

    async def check_once(self) -> None:
        """Write those conditions that are not any more what they were.

        Raises:
            ApiError: something cannot be read or written; a later call may do better.
        """
        resources = defaultdict(list)
        for resource in await self._client.list(MANAGED_RESOURCE, labels=names.LABELS):
            resources[resource["metadata"]["namespace"]].append(resource)
        for (namespace, name), extension in list(self._known.items()):
            if not health.is_checked(extension):
                continue
            now = self._clock()
            wanted = health.conditions(extension, resources[namespace], hibernated=False, now=now)
            # Only then, since a Cluster is large: what is well is well, asleep or not.
            if any(condition["status"] != "True" for condition in wanted) and await self._sleeps(namespace):
                wanted = health.conditions(extension, resources[namespace], hibernated=True, now=now)
            if wanted == ((extension.get("status") or {}).get("conditions") or []):
                continue
            version = {"resourceVersion": extension["metadata"]["resourceVersion"]}
            patch = {"metadata": version, "status": {"conditions": wanted}}
            try:
                await self._client.patch(EXTENSION, name, namespace, patch, subresource="status")
            except ConflictError:
                _log.debug("%s: changed meanwhile, checked again next time", namespace)
            except NotFoundError:
                # A watch that had to begin anew does not say what went in between.
                self._known.pop((namespace, name), None)

    async def _sleeps(self, namespace: str) -> bool:
        cluster = await self._client.find(CLUSTER, namespace)
        shoot = ((cluster or {}).get("spec") or {}).get("shoot") or {}
        return bool(((shoot.get("spec") or {}).get("hibernation") or {}).get("enabled"))


class _Term:
    """One time of leading: what is to be done, and what has been begun."""

    def __init__(self, client: Client, reconciler: Reconciler) -> None:
        self._client = client
        self._reconciler = reconciler
        self.queue = Queue[Key](self._work, expected=(ApiError, FailedError))
        self._new: set[Key] = set()
        """Seen for the first time and not looked at yet."""
        self._owed: set[Key] = set()
        """Begun and not done, though the annotation may be gone."""
        self._begun: dict[Key, Trigger] = {}
        """What asked for the latest attempt; asking the same again starts nothing."""

    def consider(self, key: Key, extension: Mapping[str, Any], *, first: bool) -> None:
        """Have an Extension worked on if it asks for that."""
        if is_due(extension, first=first) and self._begun.get(key) != trigger(extension):
            if first:
                self._new.add(key)
            self.queue.add(key)

    async def _work(self, key: Key) -> float | None:
        namespace, name = key
        first = key in self._new
        extension = await self._client.find(EXTENSION, name, namespace)
        self._new.discard(key)
        if extension is None or not is_ours(extension):
            self._forget(key)
            return None
        if key not in self._owed and not is_due(extension, first=first):
            return None
        self._owed.add(key)
        self._begun[key] = trigger(extension)
        with figures.attempt(operation_of(extension)) as outcome:
            attempt = await self._reconciler.begin(extension)
            if attempt is None:
                outcome.result, delay = "skipped", None
            else:
                if trigger(attempt.extension) != trigger(extension):
                    # From now on the annotation, should it be seen, is another one.
                    self._begun.pop(key)
                outcome.result, delay = await self._reconciler.carry_out(attempt)
        if delay is None:
            self._forget(key)
        return delay

    def _forget(self, key: Key) -> None:
        self._owed.discard(key)
        self._begun.pop(key, None)
