"""The plugins of criConfig.containerd: containerd keeps the layers that it has unpacked.

gardener-node-agent applies the entries in order under ``plugins`` of config.toml: ``add`` sets the
top-level keys of ``values`` in the table at ``path``, ``remove`` deletes the table. It translates no path of
ours between the generations of the file, so the key is set for both; a containerd ignores the one it does
not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webhook.mutation.model import MutationError, Operation
from webhook.mutation.patch import Location, add, replace

_KEY = "discard_unpacked_layers"
_LOCATION: Location = ("spec", "criConfig", "containerd", "plugins")

_TABLES = (
    ("io.containerd.grpc.v1.cri", "containerd"),  # versions 1 and 2 of config.toml
    ("io.containerd.cri.v1.images",),  # versions 3 and 4
)
_SHORT_TABLE = ("cri", "containerd")  # version 1 also knows the plugin by this name

_Table = tuple[str, ...]


def keep_unpacked_layers(entries: list[Mapping[str, Any]] | None) -> list[Operation]:
    """Force discard_unpacked_layers to false: correct what says otherwise, else complete or add an entry.

    Raises:
        MutationError: an entry's path is not a list of strings.
    """
    known = [
        _Entry(index, entry, _path(entry, index))
        for index, entry in enumerate(entries or [])
        if _is_known(entry)
    ]
    operations: list[Operation] = []
    missing: list[dict[str, Any]] = []
    for table in (*_TABLES, _SHORT_TABLE):
        corrections, completion, is_said = _judge(known, table)
        operations += corrections
        if is_said or table == _SHORT_TABLE:
            continue
        if completion:
            operations.append(completion)
        else:
            missing.append({"op": "add", "path": list(table), "values": {_KEY: False}})
    if entries is None:
        return [add(_LOCATION, missing)]
    return operations + [add((*_LOCATION, "-"), entry) for entry in missing]


class _Entry:
    """One entry, seen as what it does to a table."""

    def __init__(self, index: int, entry: Mapping[str, Any], path: _Table) -> None:
        self.path = path
        self.is_removal = entry.get("op") == "remove"
        self.values = entry.get("values")
        self._location: Location = (*_LOCATION, index, "values")

    def covers(self, table: _Table) -> bool:
        return table[: len(self.path)] == self.path

    def find(self, table: _Table) -> tuple[Location, Mapping[str, Any] | None] | None:
        """Return where in ``values`` the table is set, with its content (None for null), if it is."""
        location, node = self._location, self.values
        for part in table[len(self.path) :]:
            if not isinstance(node, Mapping) or part not in node:
                return None
            location, node = (*location, part), node[part]
        return (location, node) if node is None or isinstance(node, Mapping) else None


def _judge(entries: list[_Entry], table: _Table) -> tuple[list[Operation], Operation | None, bool]:
    """Return corrections to a table, what would complete it, and whether the key is set in the end."""
    corrections: list[Operation] = []
    completion: Operation | None = None
    is_said = False
    for entry in entries:
        if not entry.covers(table):
            continue
        if entry.is_removal:
            completion, is_said = None, False
            continue
        found = entry.find(table)
        if found is None:
            continue
        location, content = found
        if content is None:
            completion = add(location, {_KEY: False})
        elif _KEY in content:
            completion, is_said = None, True
            if content[_KEY] is not False:
                corrections.append(replace((*location, _KEY), value=False))
            continue
        else:
            completion = add((*location, _KEY), value=False)
        # A table given as a value replaces the one before, and what that one said.
        if entry.path != table:
            is_said = False
    return corrections, completion, is_said


def _is_known(entry: Mapping[str, Any]) -> bool:
    return entry.get("op") in {None, "", "add", "remove"}


def _path(entry: Mapping[str, Any], index: int) -> _Table:
    path = entry.get("path")
    where = f"spec.criConfig.containerd.plugins[{index}].path"
    if not isinstance(path, list) or not all(isinstance(part, str) for part in path):
        raise MutationError(f"{where}: must be a list of strings")
    return tuple(path)
