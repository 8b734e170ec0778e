"""Merge patch (RFC 7386), JSON patch (RFC 6902), and server-side apply with the owners of fields."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import jsonpatch

from tests.apiserver.status import RefusedError

Object = dict[str, Any]
Path = tuple[str, ...]
Owners = dict[str, set[Path]]
"""By manager: the fields that it has applied."""

SERVERS = {
    "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generateName", "generation",
    "managedFields", "name", "namespace", "resourceVersion", "selfLink", "uid",
}  # fmt: skip
"""Of metadata: what is not for clients to change."""
_UNOWNED = {("apiVersion",), ("kind",), *(("metadata", field) for field in SERVERS)}


def merge(target: Any, patch: Any) -> Any:
    """Return the target with a merge patch applied."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def apply_json_patch(target: Object, operations: Any) -> Object:
    """Return the target with a JSON patch applied.

    Raises:
        RefusedError: it does not fit.
    """
    try:
        patched: Object = jsonpatch.apply_patch(target, operations)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
        raise RefusedError(422, f"the patch does not apply: {error}") from error
    return patched


def apply(current: Object, applied: Object, owners: Owners, manager: str, *, force: bool) -> Object:
    """Return an object with a configuration applied by a manager, whose entry in ``owners`` is renewed.

    Lists are fields that one manager owns as a whole. A field that the manager applied before and does not
    apply now is removed, unless somebody else has applied it too.

    Raises:
        RefusedError: another manager owns a field with another value, and the apply is not forced.
    """
    fields = dict(_leaves(applied))
    contested = {
        path: other
        for other, owned in owners.items()
        if other != manager
        for path in owned & fields.keys()
        if _get(current, path) != fields[path]
    }
    if contested and not force:
        path, other = min(contested.items())
        raise RefusedError(409, f'Apply failed with 1 conflict: conflict with "{other}": .{".".join(path)}')
    for path, other in contested.items():
        owners[other].discard(path)
    result = copy.deepcopy(current)
    others = set().union(*(owned for other, owned in owners.items() if other != manager))
    for path in owners.get(manager, set()) - fields.keys() - others:
        _remove(result, path)
    for path, value in fields.items():
        _set(result, path, copy.deepcopy(value))
    owners[manager] = set(fields)
    return result


def own_changes(before: Object, after: Object, owners: Owners, manager: str) -> None:
    """Record that a manager has written all that differs, with whatever but apply."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    changed = {path for path, value in new.items() if path not in old or old[path] != value}
    for owned in owners.values():
        owned.difference_update(changed, old.keys() - new.keys())
    owners.setdefault(manager, set()).update(changed)


def _leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and (value or not path):
        for key, inner in value.items():
            if (*path, key) not in _UNOWNED:
                yield from _leaves(inner, (*path, key))
    else:
        yield path, value


def _get(thing: Any, path: Path) -> Any:
    for part in path:
        if not isinstance(thing, dict) or part not in thing:
            return None
        thing = thing[part]
    return thing


def _set(thing: Object, path: Path, value: Any) -> None:
    for part in path[:-1]:
        inner = thing.get(part)
        if not isinstance(inner, dict):
            inner = thing[part] = {}
        thing = inner
    thing[path[-1]] = value


def _remove(thing: Object, path: Path) -> None:
    if len(path) > 1 and isinstance(inner := thing.get(path[0]), dict):
        _remove(inner, path[1:])
        if not inner:
            del thing[path[0]]
    elif len(path) == 1:
        thing.pop(path[0], None)
