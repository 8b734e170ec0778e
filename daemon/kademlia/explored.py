"""Regions that were explored lately: their peers are not looked for again at every turn of their keys."""

from __future__ import annotations

from dataclasses import dataclass

from daemon.kademlia.region import Region

VALIDITY = 5 * 60.0
"""Seconds for which the peers of a region are not looked for again."""


@dataclass(frozen=True, slots=True)
class _Entry:
    region: Region
    until: float
    known: int


class ExploredRegions:
    """Remembers regions until they are old, have no peers left, or more peers are known than then."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []

    def add(self, region: Region, known: int, now: float) -> None:
        """Remember a region that was explored when so many peers were in the routing table."""
        self._entries.append(_Entry(region, now + VALIDITY, known))

    def find(self, key: bytes, known: int, now: float) -> Region | None:
        """Return a region that a key is in; None when its peers are to be looked for."""
        self._entries = [
            entry
            for entry in self._entries
            if entry.until > now and entry.known >= known and entry.region.peers
        ]
        return next((entry.region for entry in self._entries if key in entry.region), None)

    def clear(self) -> None:
        """Forget all: the network is not what it was."""
        self._entries.clear()
