"""The stream of a watch: bytes in, events out, no sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

MAX_EVENT_BYTES = 4 << 20
"""An object in etcd has at most 1.5 MiB."""


class StreamError(Exception):
    """The stream holds what is no event."""


class Event(NamedTuple):
    """Something that has happened to an object."""

    kind: str
    """ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."""
    thing: dict[str, Any]

    @property
    def version(self) -> str:
        """The resource version that the stream has reached; empty when the event does not say."""
        metadata = self.thing.get("metadata")
        version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
        return version if isinstance(version, str) else ""


class Events:
    """Cuts a stream into events."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Event]:
        """Take the next bytes and yield the events that are complete with them.

        Raises:
            StreamError: a line is no event, or longer than any event.
        """
        self._rest += data
        start = 0
        while (end := self._rest.find(b"\n", start)) >= 0:
            line = bytes(self._rest[start:end])
            start = end + 1
            if line.strip():
                yield _event(line)
        del self._rest[:start]
        if len(self._rest) > MAX_EVENT_BYTES:
            raise StreamError(f"an event is longer than {MAX_EVENT_BYTES} bytes")


def _event(line: bytes) -> Event:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise StreamError(f"an event is no JSON: {error}") from error
    match value:
        case {"type": str(kind), "object": dict(thing)}:
            return Event(kind, thing)
    raise StreamError("an event lacks type or object")
