"""New images, and who was asked for them."""

from __future__ import annotations

import random

from tests.daemon.images import make_image
from tests.e2e.node.machine import Node
from tests.e2e.seed.upstream import OPEN, Mark, Request, Upstream

_MIB = 2**20


def new_image(upstream: Upstream, *, registry: str = OPEN, size: int = 4 * _MIB) -> str:
    """Publish an image that nobody has seen before, with a layer of a size; return its full name."""
    seed = random.SystemRandom().getrandbits(64)
    return upstream.publish(make_image(seed, large=size, pullable=True), registry=registry)


def blobs_from_upstream(upstream: Upstream, mark: Mark, node: Node) -> list[Request]:
    """Return the requests for blobs that a node has made to registries and cache since a mark."""
    return [request for request in upstream.requests(mark, node.address) if request.is_blob]
