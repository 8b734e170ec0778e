"""``python -m binary.image DIRECTORY``: the image of the Dockerfile, made without Docker.

Writes an OCI image layout with the program at ``/spegel`` and nothing else, tagged with the version; the same
program makes the same image. ``skopeo copy oci:DIRECTORY docker://...`` publishes it.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path
from typing import Any

from binary.__main__ import ROOT, version

LABELS = {
    "org.opencontainers.image.title": "spegel",
    "org.opencontainers.image.description": (
        "A node's member of a peer-to-peer image cache, as one file: /spegel"
    ),
    "org.opencontainers.image.licenses": "Apache-2.0",
}
ENTRYPOINT = ["/spegel"]
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_TYPE = "application/vnd.oci.image"


def lay_out(program: Path, layout: Path, tag: str) -> None:
    """Write the image of a program for this machine's architecture."""
    (layout / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    system = {"os": "linux", "architecture": _ARCHITECTURES[platform.machine()]}
    archive = _archive(program.read_bytes())
    layer = _add(layout, f"{_TYPE}.layer.v1.tar+gzip", gzip.compress(archive, mtime=0))
    config = system | {
        "config": {"Entrypoint": ENTRYPOINT, "Labels": LABELS},
        "rootfs": {"type": "layers", "diff_ids": [_digest(archive)]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_TYPE}.manifest.v1+json",
        "config": _add(layout, f"{_TYPE}.config.v1+json", _encode(config)),
        "layers": [layer],
    }
    entry = _add(layout, f"{_TYPE}.manifest.v1+json", _encode(manifest))
    entry |= {"platform": system, "annotations": {"org.opencontainers.image.ref.name": tag}}
    index = {"schemaVersion": 2, "mediaType": f"{_TYPE}.index.v1+json", "manifests": [entry]}
    (layout / "index.json").write_bytes(_encode(index))
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


def main() -> None:
    """Write the image of dist/spegel."""
    parser = argparse.ArgumentParser(prog="python -m binary.image", description=__doc__)
    parser.add_argument("directory", type=Path)
    lay_out(ROOT / "dist" / "spegel", parser.parse_args().directory, version())


def _archive(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        entry = tarfile.TarInfo("spegel")
        entry.size, entry.mode = len(content), 0o755
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _add(layout: Path, media_type: str, content: bytes) -> dict[str, Any]:
    digest = _digest(content)
    (layout / "blobs" / digest.replace(":", "/")).write_bytes(content)
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _encode(document: object) -> bytes:
    return json.dumps(document).encode()


if __name__ == "__main__":
    main()
