"""The objects of a shoot as text for a person or a pipe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import documents
from controller.desired import Desired

Object = dict[str, Any]

REDACTED = "REDACTED"
"""In place of a Secret's data; base64, as the data are."""

_PUBLIC = (".crt", "url", "initiated")


def yaml(desired: Desired, *, show_keys: bool) -> str:
    """Return all objects, each under a comment that says how it gets to where it belongs.

    Args:
        desired: the objects.
        show_keys: whether private keys and the data of ManagedResources, which follow in clear, are shown.
    """
    return "".join(
        f"---\n# {way}\n{documents.dump(thing if show_keys else _redacted(thing))}"
        for way, thing in _ways(desired)
    )


def names(desired: Desired) -> str:
    """Return a line for each object."""
    lines = []
    for way, thing in _ways(desired):
        metadata = thing["metadata"]
        name = "/".join(filter(None, [metadata.get("namespace"), metadata["name"]]))
        lines.append(f"{thing['kind']} {name}: {way}\n")
    return "".join(lines)


def _ways(desired: Desired) -> Iterator[tuple[str, Object]]:
    for thing in desired.direct():
        yield "applied on the seed", thing
    for resource in desired.managed_resources:
        for thing in resource.objects:
            yield f"by ManagedResource {resource.name}, in the {resource.target.name.lower()}", thing


def _redacted(thing: Object) -> Object:
    if thing["kind"] != "Secret":
        return thing
    data = {key: value if key.endswith(_PUBLIC) else REDACTED for key, value in thing.get("data", {}).items()}
    return {**thing, "data": data} if data else thing
