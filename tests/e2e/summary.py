"""What nodes got from where, story by story: by the registries' access logs and the daemons' figures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.e2e.figures import received
from tests.e2e.landscape import Landscape
from tests.e2e.node.machine import Node
from tests.e2e.seed.upstream import Mark


@dataclass(frozen=True, slots=True)
class Row:
    """One node in one story."""

    story: str
    node: str
    upstream: int
    peers: int | None
    """None: the daemon could not be asked."""


class Summary:
    """Collects rows."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._memory = 0

    @contextlib.contextmanager
    def story(self, name: str, landscape: Landscape) -> Iterator[None]:
        """Account for what happens meanwhile."""
        mark = landscape.upstream.mark()
        before = _received(landscape.nodes)
        try:
            yield
        finally:
            self._add(name, landscape, mark, before)

    def add_memory(self, used: int) -> None:
        """Take note of the most memory that a daemon has had."""
        self._memory = max(self._memory, used)

    def table(self) -> list[str]:
        """Return the lines of a table: the nodes of each story that got anything, and sums."""
        if not self._rows:
            return []
        told = [row for row in self._rows if row.upstream or row.peers]
        lines = [_line("story", "node", "from upstream", "from peers")]
        previous = ""
        for row in told:
            story = row.story if row.story != previous else ""
            previous = row.story
            lines.append(_line(story, row.node, _size(row.upstream), _size(row.peers)))
        upstream, peers = sum(row.upstream for row in told), sum(row.peers or 0 for row in told)
        lines.append(_line("all", "", _size(upstream), _size(peers)))
        lines.append(f"No daemon took more than {self._memory / 1e6:.1f} MB of memory.")
        return lines

    def _add(self, story: str, landscape: Landscape, mark: Mark, before: Mapping[str, int | None]) -> None:
        after = _received(landscape.nodes)
        for node in landscape.nodes.values():
            requests = landscape.upstream.requests(mark, node.address)
            size = sum(request.size for request in requests if request.method == "GET")
            grown = _grown(before.get(node.name), after[node.name])
            self._rows.append(Row(story, node.name, size, grown))


def _received(nodes: Mapping[str, Node]) -> dict[str, int | None]:
    return {name: received(node) for name, node in list(nodes.items())}


def _grown(before: int | None, after: int | None) -> int | None:
    if after is None:
        return None
    # A daemon that was restarted counts from zero again.
    return after - before if before is not None and after >= before else after


def _size(count: int | None) -> str:
    return "?" if count is None else f"{count / 1e6:,.2f} MB" if count else "-"


def _line(story: str, node: str, upstream: str, peers: str) -> str:
    return f"{story:70.70} {node:8} {upstream:>15} {peers:>15}".rstrip()
