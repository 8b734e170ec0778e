"""An image made for the demo: the same each time, and of bytes that no compression makes fewer."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

REPOSITORY, TAG = "demo/shop", "1.0"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_SIZES = (16_000_000, 8_000_000, 4_000_000, 2_000_000, 300_000)
"""Of the file in each layer: a distribution below, then what its layers of an application may be."""
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Blob:
    """Content with its media type."""

    media_type: str
    data: bytes
    digest: str

    @classmethod
    def of(cls, media_type: str, data: bytes) -> Blob:
        """Make one and compute its digest."""
        return cls(media_type, data, f"sha256:{hashlib.sha256(data).hexdigest()}")

    @property
    def descriptor(self) -> dict[str, Any]:
        """What points at it (OCI image specification, descriptor.md)."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data)}


@dataclass(frozen=True)
class Image:
    """A manifest and the blobs that it names."""

    manifest: Blob
    blobs: tuple[Blob, ...]

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(len(blob.data) for blob in (self.manifest, *self.blobs))


def make_image(sizes: Sequence[int] = _SIZES) -> Image:
    """Make an image with a layer of each size; it can be unpacked, and has nothing in it that runs."""
    layers = [
        Blob.of(_LAYER, _layer(f"shop/data-{number}", size)) for number, size in enumerate(sizes, start=1)
    ]
    machine = platform.machine()
    config = Blob.of(
        _CONFIG,
        _json(
            {
                "architecture": _ARCHITECTURES.get(machine, machine),
                "os": "linux",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
            }
        ),
    )
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor,
        "layers": [layer.descriptor for layer in layers],
    }
    return Image(Blob.of(MANIFEST, _json(manifest)), (config, *layers))


def _layer(name: str, size: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = size
        archive.addfile(entry, io.BytesIO(hashlib.shake_128(name.encode()).digest(size)))
    return buffer.getvalue()


def _json(document: object) -> bytes:
    return json.dumps(document).encode()
