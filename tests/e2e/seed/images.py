"""Images as they are published: beside the small ones of the daemon's tests, one for two platforms."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

from daemon.oci.descriptor import OCI_INDEX
from daemon.oci.digest import Digest
from tests.daemon.images import TestImage, encode, make_image


def two_platforms(seed: int) -> TestImage:
    """Make an image for this machine and, with layers of its own, for s390x."""
    here, there = (make_image(seed + number, pullable=True) for number in range(2))
    (own,), (other,) = (_manifests(image) for image in (here, there))
    entries = [other | {"platform": {"architecture": "s390x", "os": "linux"}}, own]
    index = encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
    digest = Digest(f"sha256:{hashlib.sha256(index).hexdigest()}")
    blobs = {name: data for name, data in (here.blobs | there.blobs).items() if name != there.index}
    return replace(here, index=digest, blobs=blobs | {digest: index})


def _manifests(image: TestImage) -> list[dict[str, Any]]:
    manifests: list[dict[str, Any]] = json.loads(image.blobs[image.index])["manifests"]
    return manifests
