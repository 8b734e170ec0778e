"""What manifests and indexes say and name (OCI image specification, manifest.md and image-index.md).

Documents come from images, so from strangers: whatever they hold, reading one takes bounded memory and does
not fail otherwise than by NotAManifestError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from daemon.oci.descriptor import BINARY, OCI_INDEX, OCI_MANIFEST
from daemon.oci.digest import Digest, InvalidDigestError, parse_digest

MAX_MANIFEST_SIZE = 4 * 1024 * 1024
"""In bytes. Registries refuse larger ones (OCI distribution specification, section Pushing Manifests)."""

OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"

_MAX_VALUES = 100_000
"""JSON values in one document: a descriptor has four in 200 bytes, but 4 MiB of ``[],[],`` take 90 MB."""

_MEDIA_TYPE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,126}/[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,126}")


class NotAManifestError(ValueError):
    """Content is neither a manifest nor an index."""


@dataclass(frozen=True, slots=True)
class Children:
    """The content that a manifest or index names, in order, whether the store has it or not."""

    manifests: tuple[Digest, ...]
    """Of an index: manifests and further indexes."""
    blobs: tuple[Digest, ...]
    """Of a manifest: its config and its layers."""


def media_type(data: bytes) -> str:
    """Tell the media type of content from the content itself.

    A document's own ``mediaType`` goes first, then its structure: the field is optional in OCI documents.
    What is no JSON object of a known kind is ``application/octet-stream``.
    """
    try:
        document = load(data)
    except NotAManifestError:
        return BINARY
    stated = document.get("mediaType")
    if document.get("schemaVersion") == 2 and isinstance(stated, str) and _MEDIA_TYPE.fullmatch(stated):
        return stated
    if isinstance(document.get("manifests"), list):
        return OCI_INDEX
    if isinstance(document.get("config"), dict) and isinstance(document.get("layers"), list):
        return OCI_MANIFEST
    if isinstance(document.get("os"), str) and isinstance(document.get("rootfs"), dict):
        return OCI_CONFIG
    return BINARY if document else OCI_EMPTY


def children(data: bytes) -> Children:
    """Return what a manifest or index names; descriptors without a valid digest are left out.

    Raises:
        NotAManifestError: it is neither.
    """
    document = load(data)
    manifests, layers = document.get("manifests"), document.get("layers")
    if isinstance(manifests, list):
        return Children(tuple(_digests(manifests)), ())
    if isinstance(layers, list):
        return Children((), tuple(_digests([document.get("config"), *layers])))
    raise NotAManifestError("the document has neither manifests nor layers")


def load(data: bytes) -> dict[str, Any]:
    """Parse a document.

    Raises:
        NotAManifestError: it is too large, holds too much or is no JSON object.
    """
    if len(data) > MAX_MANIFEST_SIZE:
        raise NotAManifestError(f"the document is larger than {MAX_MANIFEST_SIZE} bytes")
    if not data.lstrip(b" \t\r\n").startswith(b"{"):
        raise NotAManifestError("the document is not a JSON object")
    if data.count(b",") + data.count(b"[") + data.count(b"{") > _MAX_VALUES:
        raise NotAManifestError(f"the document holds more than {_MAX_VALUES} values")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NotAManifestError(f"the document is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise NotAManifestError("the document is not a JSON object")
    return document


def _digests(descriptors: list[Any]) -> Iterator[Digest]:
    for descriptor in descriptors:
        text = descriptor.get("digest") if isinstance(descriptor, dict) else None
        if isinstance(text, str):
            try:
                yield parse_digest(text)
            except InvalidDigestError:
                continue
