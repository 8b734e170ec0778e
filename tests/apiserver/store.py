"""The objects of an API server, their resource versions and what has happened to them.

Objects are never changed in place: who has got one keeps what it was. All methods may be called from any
thread.
"""

from __future__ import annotations

import base64
import copy
import datetime
import itertools
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.apiserver import patches
from tests.apiserver.resources import Resource
from tests.apiserver.selectors import Selector
from tests.apiserver.status import RefusedError, expired

Object = dict[str, Any]
Key = tuple[str, str]
"""Namespace (empty for cluster-scoped objects) and name."""
_HISTORY = 100_000
_SNAPSHOTS = 64


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one object."""

    version: int
    resource: Resource
    before: Object | None
    after: Object | None


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list."""

    items: Sequence[Object]
    version: int
    proceed: str
    """The token for the next page; empty on the last."""
    remaining: int


class Store:
    """Holds objects by resource, namespace and name."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        """Notified at each change, and by whoever wants watchers to look up."""
        self._objects: dict[Resource, dict[Key, Object]] = {}
        self._owners: dict[str, patches.Owners] = {}
        self._events: deque[Event] = deque(maxlen=_HISTORY)
        self._snapshots: dict[str, tuple[int, list[Object]]] = {}
        self._tokens = itertools.count(1)
        self.version = 1
        self._oldest = 1

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        """Return an object.

        Raises:
            RefusedError: there is none.
        """
        with self.changed:
            try:
                return self._objects[resource][namespace or "", name]
            except KeyError:
                raise RefusedError(404, f'{resource.plural} "{name}" not found') from None

    def page(self, resource: Resource, namespace: str | None, matches: Selector, limit: int) -> Page:
        """Return the first page of a list; all of it when the limit is 0."""
        with self.changed:
            items = [
                thing
                for (place, _), thing in sorted(self._objects.get(resource, {}).items())
                if namespace in (None, place) and matches(thing)
            ]
            return self._cut(items, self.version, limit)

    def next_page(self, token: str, limit: int) -> Page:
        """Return the next page of a list, as it was when the list began.

        Raises:
            RefusedError: that is no longer known.
        """
        with self.changed:
            version, items = self._snapshots.pop(token, (0, []))
            if version < self._oldest:
                raise expired()
            return self._cut(items, version, limit)

    def create(
        self, resource: Resource, namespace: str | None, thing: Object, *, manager: str = ""
    ) -> Object:
        """Add an object.

        Raises:
            RefusedError: it has no name, or there is one already.
        """
        thing = _sent(thing, resource, namespace)
        metadata = thing["metadata"]
        if not metadata.get("name") and (prefix := metadata.get("generateName")):
            metadata["name"] = prefix + uuid.uuid4().hex[:5]
        name = metadata.get("name")
        if not name:
            raise RefusedError(422, "metadata.name: Required value: name or generateName is required")
        with self.changed:
            if (namespace or "", name) in self._objects.get(resource, {}):
                raise RefusedError(409, f'{resource.plural} "{name}" already exists', "AlreadyExists")
            metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": _now(), "generation": 1}
            if resource.has_status and resource.group:  # as a custom resource's; Nodes come with theirs
                thing.pop("status", None)
            owners = self._owners[metadata["uid"]] = {}
            if manager:
                patches.own_changes({}, thing, owners, manager)
            return self._put(resource, None, thing)

    def change(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        change: Callable[[Object], Object],
        *,
        status: bool = False,
        manager: str = "",
    ) -> Object:
        """Replace an object by what a function makes of it; of the status alone, or of all but the status.

        Raises:
            RefusedError: there is none, or the function answers with another resource version.
        """
        with self.changed:
            before = self.get(resource, namespace, name)
            after = _sent(change(copy.deepcopy(before)), resource, namespace)
            wanted = after["metadata"].get("resourceVersion")
            if wanted and wanted != before["metadata"]["resourceVersion"]:
                raise RefusedError(
                    409,
                    f'cannot update {resource.plural} "{name}": the object has been modified',
                )
            after = _merged(resource, before, after, status=status)
            if after == before:
                return before
            if manager:
                patches.own_changes(before, after, self._owners[before["metadata"]["uid"]], manager)
            return self._settle(resource, before, after)

    def apply(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        applied: Object,
        *,
        manager: str,
        force: bool = False,
        status: bool = False,
    ) -> tuple[Object, bool]:
        """Apply a configuration as a manager; returns the object, and whether it is new.

        Raises:
            RefusedError: another manager owns a field, and the apply is not forced.
        """
        with self.changed:
            try:
                before = self.get(resource, namespace, name)
            except RefusedError:
                created = self.create(
                    resource, namespace, patches.merge(applied, {"metadata": {"name": name}})
                )
                owners = self._owners[created["metadata"]["uid"]]
                patches.apply(created, applied, owners, manager, force=True)
                return created, True
            owners = copy.deepcopy(self._owners[before["metadata"]["uid"]])
            after = patches.apply(before, applied, owners, manager, force=force)
            self._owners[before["metadata"]["uid"]] = owners
            after = _merged(resource, before, after, status=status)
            return (before if after == before else self._settle(resource, before, after)), False

    def delete(
        self, resource: Resource, namespace: str | None, name: str, *, uid: str | None = None
    ) -> Object:
        """Remove an object, or mark it when it has finalizers.

        Raises:
            RefusedError: there is none, or it has another uid.
        """
        with self.changed:
            before = self.get(resource, namespace, name)
            if uid and uid != before["metadata"]["uid"]:
                raise RefusedError(409, "the uid in the precondition is not that of the object")
            if not before["metadata"].get("finalizers"):
                return self._drop(resource, before)
            if before["metadata"].get("deletionTimestamp"):
                return before
            after = copy.deepcopy(before)
            after["metadata"] |= {"deletionTimestamp": _now(), "deletionGracePeriodSeconds": 0}
            return self._put(resource, before, after)

    def owners(self, thing: Object) -> patches.Owners:
        """Return who has written which fields of an object."""
        with self.changed:
            return copy.deepcopy(self._owners.get(thing["metadata"]["uid"], {}))

    def compact(self) -> None:
        """Forget what has happened so far: older resource versions and continue tokens are expired."""
        with self.changed:
            self.version += 1
            self._oldest = self.version
            self._events.clear()
            self._snapshots.clear()

    def since(self, version: int) -> list[Event]:
        """Return what has happened after a resource version.

        Raises:
            RefusedError: that is no longer known.
        """
        with self.changed:
            if version < self._oldest:
                raise expired()
            found: list[Event] = []
            for event in reversed(self._events):
                if event.version <= version:
                    break
                found.append(event)
            return found[::-1]

    def __iter__(self) -> Iterator[Object]:
        with self.changed:
            return iter([thing for things in self._objects.values() for thing in things.values()])

    def _cut(self, items: list[Object], version: int, limit: int) -> Page:
        if not limit or len(items) <= limit:
            return Page(items, version, "", 0)
        token = base64.urlsafe_b64encode(b"%d" % next(self._tokens)).decode()
        self._snapshots[token] = version, items[limit:]
        if len(self._snapshots) > _SNAPSHOTS:
            del self._snapshots[next(iter(self._snapshots))]
        return Page(items[:limit], version, token, len(items) - limit)

    def _settle(self, resource: Resource, before: Object, after: Object) -> Object:
        """Store a changed object, or remove it when its last finalizer has gone."""
        if after["metadata"].get("deletionTimestamp") and not after["metadata"].get("finalizers"):
            return self._drop(resource, after)
        without = ("metadata", "status") if resource.has_status else ("metadata",)
        if any(
            before.get(key) != after.get(key) for key in before.keys() | after.keys() if key not in without
        ):
            after["metadata"]["generation"] = before["metadata"].get("generation", 1) + 1
        return self._put(resource, before, after)

    def _put(self, resource: Resource, before: Object | None, after: Object) -> Object:
        self.version += 1
        after["metadata"]["resourceVersion"] = str(self.version)
        self._objects.setdefault(resource, {})[_key(after)] = after
        self._record(Event(self.version, resource, before, after))
        return after

    def _drop(self, resource: Resource, last: Object) -> Object:
        self.version += 1
        last = copy.deepcopy(last)
        last["metadata"]["resourceVersion"] = str(self.version)
        del self._objects[resource][_key(last)]
        self._owners.pop(last["metadata"]["uid"], None)
        self._record(Event(self.version, resource, last, None))
        return last

    def _record(self, event: Event) -> None:
        if len(self._events) == _HISTORY:
            self._oldest = self._events[0].version
        self._events.append(event)
        self.changed.notify_all()


def _key(thing: Object) -> Key:
    return thing["metadata"].get("namespace", ""), thing["metadata"]["name"]


def _now() -> str:
    return f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"


def _sent(thing: Object, resource: Resource, namespace: str | None) -> Object:
    """Return a copy of what a client has sent, completed by what its path says."""
    thing = copy.deepcopy(thing)
    thing |= {"apiVersion": resource.api_version, "kind": resource.kind}
    metadata = thing.setdefault("metadata", {})
    metadata.pop("managedFields", None)
    if namespace:
        metadata["namespace"] = namespace
    if resource.kind == "Secret" and (texts := thing.pop("stringData", None)):
        data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
        thing["data"] = {**(thing.get("data") or {}), **data}
    return thing


def _merged(resource: Resource, before: Object, after: Object, *, status: bool) -> Object:
    """Keep what a client may not change: the server's metadata, and the other half of object and status."""
    if status:
        return before | {"status": after["status"]} if "status" in after else before
    own = {key: value for key, value in before["metadata"].items() if key in patches.SERVERS}
    theirs = {key: value for key, value in after["metadata"].items() if key not in patches.SERVERS}
    after = after | {"metadata": own | theirs}
    if resource.has_status:
        after.pop("status", None)
        if "status" in before:
            after["status"] = before["status"]
    return after
