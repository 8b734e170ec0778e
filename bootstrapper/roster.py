"""The nodes that are known, as a source of nodes tells of them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable

from bootstrapper.node import Node, read


class Roster:
    """All nodes by name. One thread tells of changes, another waits for them."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._nodes: dict[str, Node] = {}
        self._complete = False
        self._dirty = False

    def put(self, thing: object, *, loopback: bool = False) -> str | None:
        """Take a Node object that is new or has changed, and return its name; see `read`."""
        node = read(thing, loopback=loopback)
        if node is None:
            return None
        # Most changes are heartbeats, of which nothing is kept.
        if self._nodes.get(node.name) != node:
            with self.changed:
                self._nodes[node.name] = node._replace(zone=sys.intern(node.zone))
                self._mark()
        return node.name

    def remove(self, thing: object) -> None:
        """Forget a node that is gone."""
        node = read(thing)
        if node is not None and node.name in self._nodes:
            with self.changed:
                del self._nodes[node.name]
                self._mark()

    def keep_only(self, names: Iterable[str]) -> None:
        """Forget all other nodes; what is known now is all that there is."""
        with self.changed:
            for name in self._nodes.keys() - set(names):
                del self._nodes[name]
            self._complete = True
            self._mark()

    def take(self, timeout: float | None) -> list[Node]:
        """Return all nodes, once they are known and one has changed or the time in seconds is over."""
        with self.changed:
            self.changed.wait_for(lambda: self._complete)
            self.changed.wait_for(lambda: self._dirty, timeout)
            self._dirty = False
            return list(self._nodes.values())

    def _mark(self) -> None:
        self._dirty = True
        self.changed.notify_all()
