"""The whole daemon, on an image layout made for the purpose."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

_ROOT = Path(__file__).parent.parent.parent
_LAYERS = 8


def lay_out(directory: Path, keys: int, first: int = 0) -> list[str]:
    """Write an OCI image layout of so many keys: names, manifests, configurations and layers.

    Images are numbered from ``first`` on; those of different numbers have nothing in common. Returns the
    digests of the manifests.
    """
    descriptors = []
    for number in range(first, first + keys // (_LAYERS + 3)):
        layers = [_blob(directory, f"layer {number} {layer}".encode()) for layer in range(_LAYERS)]
        config = _blob(directory, json.dumps({"number": number}).encode())
        document = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", **one} for one in layers],
        }
        descriptors.append(
            {
                "mediaType": document["mediaType"],
                **_blob(directory, json.dumps(document).encode()),
                "annotations": {"io.containerd.image.name": f"registry.example.com/app/{number}:1"},
            }
        )
    (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": descriptors}))
    return [str(descriptor["digest"]) for descriptor in descriptors]


@contextlib.asynccontextmanager
async def daemon(layout: Path, peer: str) -> AsyncIterator[int]:
    """Run a daemon that begins with a peer; yield its process ID."""
    flags = [
        "--bootstrap-kind=static",
        f"--static-bootstrap-peers={peer}",
        f"--oci-layout={layout}",
        "--log-level=ERROR",
        *(f"--{kind}-addr=127.0.0.1:0" for kind in ("registry", "metrics", "router")),
    ]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "daemon", "registry", *flags, cwd=_ROOT
    )
    try:
        yield process.pid
    finally:
        process.terminate()
        await process.wait()


def resident(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024 / 1e6


def _blob(directory: Path, data: bytes) -> dict[str, object]:
    digest = hashlib.sha256(data).hexdigest()
    path = directory / "blobs" / "sha256" / digest
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return {"digest": f"sha256:{digest}", "size": len(data)}
