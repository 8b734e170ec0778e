"""Applying a JSON patch (RFC 6902): the three operations that the mutation makes."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any


def patched(document: Mapping[str, Any], patch: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a patch of add, replace and remove makes of a document, which itself is left alone."""
    result: dict[str, Any] = copy.deepcopy(dict(document))
    for operation in patch:
        path = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        target: Any = result
        for part in path[:-1]:
            target = target[int(part) if isinstance(target, list) else part]
        _apply(operation, target, path[-1])
    return result


def _apply(operation: Mapping[str, Any], target: Any, last: str) -> None:
    value = copy.deepcopy(operation.get("value"))
    if isinstance(target, dict):
        if operation["op"] == "remove":
            del target[last]
        else:
            target[last] = value
    elif operation["op"] == "add":
        target.insert(len(target) if last == "-" else int(last), value)
    elif operation["op"] == "replace":
        target[int(last)] = value
    else:
        del target[int(last)]
