"""JSON patch operations (RFC 6902) and the pointers in them (RFC 6901)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from webhook.mutation.model import Operation

Location = tuple[str | int, ...]
"""Keys and indices from the root of the document to a value."""


def pointer(location: Location) -> str:
    """Return the JSON pointer to a location."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def add(location: Location, value: Any) -> Operation:
    """Set a member (replacing an existing one) or insert before an index; "-" appends."""
    return {"op": "add", "path": pointer(location), "value": value}


def replace(location: Location, value: Any) -> Operation:
    """Replace an existing value."""
    return {"op": "replace", "path": pointer(location), "value": value}


def remove(location: Location) -> Operation:
    """Remove an existing value; later elements of a list move up."""
    return {"op": "remove", "path": pointer(location)}


def put_named(
    location: Location,
    existing: list[Any] | None,
    wanted: list[dict[str, Any]],
    key: str,
    *,
    owned: Collection[str] = (),
) -> list[Operation]:
    """Bring named elements into a list: in place where one of the name exists, else at the end.

    Then there is one of each name: a file for all nodes is refused beside one of its path for a single node.

    Args:
        location: where the list is, or will be when ``existing`` is None.
        existing: the list as it is; its elements are mappings.
        wanted: the elements, each named by its member ``key``.
        key: the member that names an element.
        owned: names whose elements are removed where they are not wanted.
    """
    if existing is None:
        return [add(location, wanted)] if wanted else []
    positions: dict[str, list[int]] = {}
    for position, element in enumerate(existing):
        if isinstance(name := element.get(key), str):
            positions.setdefault(name, []).append(position)
    additions, replacements = [], []
    unwanted: list[int] = []
    for element in wanted:
        found = positions.pop(element[key], None)
        if found is None:
            additions.append(add((*location, "-"), element))
            continue
        if existing[found[0]] != element:
            replacements.append(replace((*location, found[0]), element))
        unwanted += found[1:]
    unwanted += (position for name in owned for position in positions.get(name, ()))
    # From the end, so that the positions still to be used stay right.
    removals = [remove((*location, position)) for position in sorted(unwanted, reverse=True)]
    return [*replacements, *removals, *additions]
