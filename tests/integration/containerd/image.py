"""A small OCI image with content of its own, so that no containerd has seen any of its blobs before."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import tarfile
import uuid
from dataclasses import dataclass, field

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
"""This machine's, by the name that OCI has for it."""


@dataclass
class Image:
    """Blobs by digest, and the digest that every tag stands for."""

    blobs: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    """Media type and content."""
    digest: str = ""

    def find(self, reference: str) -> tuple[str, str, bytes] | None:
        """Return digest, media type and content of a digest or tag."""
        digest = reference if ":" in reference else self.digest
        found = self.blobs.get(digest)
        return (digest, *found) if found else None

    def add(self, media_type: str, content: bytes) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.blobs[digest] = (media_type, content)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    @property
    def layers(self) -> list[str]:
        return [digest for digest, (media_type, _) in self.blobs.items() if media_type == LAYER]


def new_image(layers: int = 2) -> Image:
    """Make an index with one manifest for this machine's platform, a config and layers."""
    image = Image()
    system = {"os": "linux", "architecture": ARCHITECTURE}
    archives = [_archive(f"layer-{number}", uuid.uuid4().bytes * 64) for number in range(layers)]
    descriptors = [image.add(LAYER, gzip.compress(archive, mtime=0)) for archive in archives]
    diff_ids = [f"sha256:{hashlib.sha256(archive).hexdigest()}" for archive in archives]
    config = system | {"config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": image.add(CONFIG, json.dumps(config).encode()),
        "layers": descriptors,
    }
    entry = image.add(MANIFEST, json.dumps(manifest).encode()) | {"platform": system}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
    image.digest = str(image.add(INDEX, json.dumps(index).encode())["digest"])
    return image


def _archive(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
