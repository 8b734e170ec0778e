"""Objects as kubectl sends those that it creates by name: in Kubernetes' protobuf envelope.

Of namespaces, ConfigMaps and Secrets, and as much of them as ``kubectl create`` says. Field numbers are those
of ``generated.proto`` in k8s.io/api/core/v1 and k8s.io/apimachinery.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from daemon.libp2p.protobuf import fields

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"

_MAGIC = b"k8s\x00"


def decode(body: bytes) -> dict[str, Any]:
    """Return the object of a request's body.

    Raises:
        ValueError: it is none, or of another kind.
    """
    if not body.startswith(_MAGIC):
        raise ValueError("the body has no envelope")
    envelope = _message(body.removeprefix(_MAGIC))
    api_version, kind = (text.decode() for _, text in fields(envelope[1]) if isinstance(text, bytes))
    content = envelope.get(2, b"")
    head = {"apiVersion": api_version, "kind": kind, "metadata": _metadata(_message(content).get(1, b""))}
    match api_version, kind:
        case "v1", "Namespace":
            return head
        case "v1", "ConfigMap":
            return head | {"data": _texts(_entries(content, 2))}
        case "v1", "Secret":
            data = {key: base64.b64encode(value).decode() for key, value in _entries(content, 2)}
            return head | {"data": data, "type": _message(content).get(3, b"Opaque").decode()}
    raise ValueError(f"{api_version} {kind} is not read from protobuf here")


def _metadata(content: bytes) -> dict[str, Any]:
    message = _message(content)
    found: dict[str, Any] = {"name": message[1].decode()}
    if namespace := message.get(3):
        found["namespace"] = namespace.decode()
    for key, number in (("labels", 11), ("annotations", 12)):
        if texts := _texts(_entries(content, number)):
            found[key] = texts
    return found


def _message(content: bytes) -> dict[int, bytes]:
    return {number: value for number, value in fields(content) if isinstance(value, bytes)}


def _entries(content: bytes, number: int) -> list[tuple[str, bytes]]:
    """The entries of a map field."""
    entries = [
        _message(value) for found, value in fields(content) if found == number and isinstance(value, bytes)
    ]
    return [(entry.get(1, b"").decode(), entry.get(2, b"")) for entry in entries]


def _texts(entries: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    return {key: value.decode() for key, value in entries}
