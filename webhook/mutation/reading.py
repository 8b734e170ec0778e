"""Reading an object whose shape the API server should have checked, without trusting that it did.

A member that is absent or null reads as None; a member of the wrong type is an error that names
its path, so that no odd object becomes a crash or a half-done patch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webhook.mutation.model import MutationError


def mapping(parent: Mapping[str, Any], key: str, path: str) -> Mapping[str, Any] | None:
    """Return the object at ``key``; ``path`` is the parent's, for the error."""
    value = parent.get(key)
    if value is None or isinstance(value, Mapping):
        return value
    raise _wrong(f"{path}.{key}", "an object", value)


def mappings(parent: Mapping[str, Any], key: str, path: str) -> list[Mapping[str, Any]] | None:
    """Return the list of objects at ``key``."""
    value = parent.get(key)
    if value is None:
        return None
    if not isinstance(value, list):
        raise _wrong(f"{path}.{key}", "a list", value)
    for index, element in enumerate(value):
        if not isinstance(element, Mapping):
            raise _wrong(f"{path}.{key}[{index}]", "an object", element)
    return value


def text(parent: Mapping[str, Any], key: str, path: str) -> str | None:
    """Return the string at ``key``."""
    value = parent.get(key)
    if value is None or isinstance(value, str):
        return value
    raise _wrong(f"{path}.{key}", "a string", value)


def _wrong(path: str, expected: str, value: object) -> MutationError:
    return MutationError(f"{path}: must be {expected}, not {type(value).__name__}")
