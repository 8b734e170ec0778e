"""An image that a node has, and what it is asked for."""

from __future__ import annotations

from tests.daemon.images import make_image

NAME = "docker.io/library/alpine:3.20"
IMAGE = make_image(1, size=2_000_000)
LAYER = IMAGE.layers[0]
BY_TAG = "/v2/library/alpine/manifests/3.20?ns=docker.io"
BY_DIGEST = f"/v2/library/alpine/manifests/{IMAGE.index}?ns=docker.io"
BLOB = f"/v2/library/alpine/blobs/{LAYER}?ns=docker.io"
PATHS = [BY_TAG, BY_DIGEST, BLOB]
