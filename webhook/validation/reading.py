"""Reading an object whose shape nobody vouches for, so that every odd member becomes a field error.

A member that is absent or null reads as empty. One of the wrong type is noted and reads as empty too: the
reader goes on, because a person wants all errors at once (though no more than a message can show).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from api.field import ENOUGH_ERRORS, ErrorType, FieldError, child


class Reader:
    """Reads members by parent, key and the parent's path; collects what is wrong with them."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []

    def mapping(self, parent: Mapping[str, Any], key: str, path: str) -> Mapping[str, Any]:
        """Return the object at ``key``, or an empty one."""
        value = parent.get(key)
        if value is None:
            return {}
        if isinstance(value, Mapping):
            return value
        self._note(child(path, key), value, "must be an object")
        return {}

    def mappings(
        self, parent: Mapping[str, Any], key: str, path: str
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the objects of the list at ``key``, each with its path."""
        value = parent.get(key)
        if value is None:
            return
        where = child(path, key)
        if not isinstance(value, list):
            self._note(where, value, "must be a list")
            return
        for index, element in enumerate(value):
            if isinstance(element, Mapping):
                yield f"{where}[{index}]", element
            else:
                self._note(f"{where}[{index}]", element, "must be an object")

    def text(self, parent: Mapping[str, Any], key: str, path: str) -> str | None:
        """Return the string at ``key``; None also for an empty one, which Kubernetes takes for unset."""
        value = parent.get(key)
        if isinstance(value, str) or value is None:
            return value or None
        self._note(child(path, key), value, "must be a string")
        return None

    def flag(self, parent: Mapping[str, Any], key: str, path: str) -> bool:
        """Return the boolean at ``key``."""
        value = parent.get(key)
        if isinstance(value, bool) or value is None:
            return bool(value)
        self._note(child(path, key), value, "must be a boolean")
        return False

    def _note(self, path: str, value: object, detail: str) -> None:
        if len(self.errors) < ENOUGH_ERRORS:
            self.errors.append(FieldError(path, ErrorType.INVALID, value, detail))
