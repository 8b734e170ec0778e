"""Directories in the OCI image layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.daemon.images import TestImage, encode


def lay_out(directory: Path, images: Mapping[str, TestImage]) -> None:
    """Write images, by name."""
    directory.mkdir(exist_ok=True)
    for image in images.values():
        for digest, data in image.blobs.items():
            path = directory / "blobs" / digest.replace(":", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    index = {"schemaVersion": 2, "manifests": [image.descriptor(name) for name, image in images.items()]}
    (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (directory / "index.json").write_bytes(encode(index))
