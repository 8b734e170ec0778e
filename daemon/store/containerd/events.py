"""containerd's events as the store's."""

from __future__ import annotations

from google.protobuf.message import DecodeError, Message

from daemon.oci.digest import InvalidDigestError, parse_digest
from daemon.store.base import Event, EventKind
from daemon.store.containerd.api.content_events_pb2 import ContentCreate, ContentDelete
from daemon.store.containerd.api.images_pb2 import ImageCreate, ImageDelete, ImageUpdate
from daemon.store.containerd.api.types_pb2 import Envelope

_TOPICS: dict[str, tuple[type[Message], EventKind]] = {
    "/images/create": (ImageCreate, EventKind.IMAGE_CHANGED),
    "/images/update": (ImageUpdate, EventKind.IMAGE_CHANGED),
    "/images/delete": (ImageDelete, EventKind.IMAGE_DELETED),
    "/content/create": (ContentCreate, EventKind.CONTENT_CREATED),
    "/content/delete": (ContentDelete, EventKind.CONTENT_DELETED),
}


def event_filters(namespace: str) -> list[str]:
    """Return the filters of a subscription: without them events of all namespaces and kinds come."""
    return [f'namespace=="{namespace}",topic=="{topic}"' for topic in _TOPICS]


def parse_event(envelope: Envelope) -> Event | None:
    """Return what containerd reports; None when it is of no interest.

    An event that cannot be understood becomes RESYNC: something happened.
    """
    if envelope.topic not in _TOPICS:
        return None
    message_type, kind = _TOPICS[envelope.topic]
    try:
        message = message_type.FromString(envelope.event.value)
        if isinstance(message, ContentCreate | ContentDelete):
            return Event(kind, digest=parse_digest(message.digest))
        if isinstance(message, ImageCreate | ImageUpdate | ImageDelete):
            return Event(kind, name=message.name)
    except (DecodeError, InvalidDigestError):
        pass
    return Event(EventKind.RESYNC)
