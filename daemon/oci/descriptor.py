"""Descriptors and media types (OCI image specification, descriptor.md and media-types.md)."""

from __future__ import annotations

from dataclasses import dataclass

from daemon.oci.digest import Digest

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"

MANIFEST_MEDIA_TYPES = frozenset({OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST})
BINARY = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What is known of a piece of content without reading it."""

    digest: Digest
    media_type: str
    size: int
    """In bytes."""

    @property
    def is_manifest(self) -> bool:
        """Whether the content is served under /manifests/ rather than /blobs/."""
        return self.media_type in MANIFEST_MEDIA_TYPES
