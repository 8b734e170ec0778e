"""Small images made by hand, in the form of an OCI image layout."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import random
import tarfile
from dataclasses import dataclass, field
from typing import Any

from daemon.oci.descriptor import OCI_INDEX, OCI_MANIFEST
from daemon.oci.digest import Digest
from daemon.oci.manifest import OCI_CONFIG

LAYER = "application/vnd.oci.image.layer.v1.tar"
_PORTION = 2**26
THIS_ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]


@dataclass(frozen=True)
class TestImage:
    """An image with its blobs by digest."""

    __test__ = False

    index: Digest
    manifest: Digest
    config: Digest
    layers: tuple[Digest, ...]
    blobs: dict[Digest, bytes] = field(repr=False)

    def descriptor(self, name: str) -> dict[str, Any]:
        """Return its entry for an index.json."""
        return {
            "mediaType": OCI_INDEX,
            "digest": self.index,
            "size": len(self.blobs[self.index]),
            "annotations": {"io.containerd.image.name": name},
        }

    def archive(self, name: str) -> bytes:
        """Return it as the archive that ``ctr images import`` takes."""
        files = {f"blobs/{digest.replace(':', '/')}": data for digest, data in self.blobs.items()}
        files["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
        files["index.json"] = encode({"schemaVersion": 2, "manifests": [self.descriptor(name)]})
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for path, data in files.items():
                entry = tarfile.TarInfo(path)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        return buffer.getvalue()


def make_image(
    seed: int, *, layers: int = 2, size: int = 4000, large: int = 0, pullable: bool = False
) -> TestImage:
    """Make an image of one platform below an index; the same seed makes the same image.

    Args:
        seed: of what is in the layers.
        layers: how many.
        size: of each, in bytes.
        large: the size of one layer more, if not 0.
        pullable: for this machine, and with nothing in the index that nobody has.
    """
    blobs: dict[Digest, bytes] = {}

    def add(data: bytes) -> Digest:
        digest = Digest(f"sha256:{hashlib.sha256(data).hexdigest()}")
        blobs[digest] = data
        return digest

    def descriptor(digest: Digest, media_type: str) -> dict[str, Any]:
        return {"mediaType": media_type, "digest": digest, "size": len(blobs[digest])}

    generator = random.Random(seed)
    sizes = [size] * layers + [large] * (large > 0)
    layer_digests = tuple(add(_layer(_random_bytes(generator, size))) for size in sizes)
    system = {"architecture": THIS_ARCHITECTURE if pullable else "amd64", "os": "linux"}
    rootfs = {"type": "layers", "diff_ids": layer_digests}
    config = add(encode({**system, "config": {}, "rootfs": rootfs}))
    manifest = add(
        encode(
            {
                "schemaVersion": 2,
                "config": descriptor(config, OCI_CONFIG),
                "layers": [descriptor(layer, LAYER) for layer in layer_digests],
            }
        )
    )
    # The second manifest is another platform's, which the store does not have: that is how images are pulled.
    absent = {"mediaType": OCI_MANIFEST, "digest": "sha256:" + f"{seed:064x}", "size": 2}
    absent["platform"] = {"architecture": "s390x", "os": "linux"}
    entries = [{**descriptor(manifest, OCI_MANIFEST), "platform": system}]
    if not pullable:
        entries.append(absent)
    index = add(encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}))
    return TestImage(index, manifest, config, layer_digests, blobs)


def encode(document: object) -> bytes:
    """Return a document as JSON."""
    return json.dumps(document).encode()


def _random_bytes(generator: random.Random, size: int) -> bytes:
    """Return bytes in portions of a size that a generator can make at once."""
    return b"".join(generator.randbytes(min(_PORTION, size - start)) for start in range(0, size, _PORTION))


def _layer(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("file")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
