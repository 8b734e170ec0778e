"""Nodes from a file, read again when it changes: for demonstrations, and where there is no API server.

It holds what ``kubectl get nodes --output yaml`` prints, a List of Nodes; or a plain list of them, or one.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import NoReturn

import documents
from bootstrapper.roster import Roster
from bootstrapper.sources.base import Listener, SourceError

_LOOK_SECONDS = 0.5


class NodesFile:
    """A Source."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, roster: Roster) -> None:
        """See Source."""
        try:
            value = documents.read(str(self._path))
        except documents.DocumentError as error:
            raise SourceError("file", str(error)) from error
        # Whoever writes a loopback address into a file means nodes on this machine.
        names = [roster.put(thing, loopback=True) for thing in self._nodes(value)]
        for number, name in enumerate(names, 1):
            if name is None:
                raise SourceError("file", f"{self._path}: node {number} has no metadata.name")
        roster.keep_only(name for name in names if name)

    def follow(self, roster: Roster, listener: Listener) -> NoReturn:
        """See Source."""
        seen: object = None
        good = False
        while True:
            if (identity := self._identity()) != seen:
                seen = identity  # remembered before the file is read: a change in between is seen next time
                try:
                    self.read(roster)
                    good = True
                except SourceError as error:
                    good = False
                    listener.failed(error)
            if good:
                listener.heard()
            time.sleep(_LOOK_SECONDS)

    def _nodes(self, value: object) -> list[object]:
        match value:
            case {"kind": "List" | "NodeList", "items": list(items)} | list(items):
                nodes: list[object] = items
            case {"kind": "Node"}:
                nodes = [value]
            case _:
                raise SourceError("file", f"{self._path}: must be a List of Nodes, a list of them, or a Node")
        return nodes

    def _identity(self) -> object:
        try:
            stat = self._path.stat()
        except OSError as error:
            return str(error)
        return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns
