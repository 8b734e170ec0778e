"""Waiting until nodes can find what another one has: it tells them in the background."""

from __future__ import annotations

import http.client
from contextlib import closing
from functools import partial

from tests.e2e.node.machine import Node
from tests.e2e.process import wait_until

_PORT = 5000


def finds(node: Node, image: str, digest: str | None = None, *, port: int = _PORT) -> bool:
    """Tell whether a node's daemon finds a digest of an image, or what the image's name stands for."""
    name, _, tag = image.rpartition(":")
    registry, _, repository = name.partition("/")
    # A manifest is not to be had as a blob, nor a blob as a manifest.
    resources = [f"manifests/{digest or tag}", *([f"blobs/{digest}"] if digest else [])]

    def ask() -> bool:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            for resource in resources:
                connection.request("HEAD", f"/v2/{repository}/{resource}?ns={registry}")
                answer = connection.getresponse()
                answer.read()
                if answer.status == 200:
                    return True
        return False

    return node.machine.call(ask)


def wait_until_offered(holder: Node, image: str, *others: Node, port: int = _PORT) -> None:
    """Wait until other nodes find all that a node has of an image."""
    for digest in (None, *holder.contents(image)):
        for node in others:
            wait_until(
                partial(finds, node, image, digest, port=port), f"{digest or image}, sought by {node.name},"
            )
