"""Nodes of upstream Spegel and of this one in one cluster, each with a containerd that pulls through it.

``SPEGEL_BINARY`` names upstream's program, such as ``go build`` makes it of its repository.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.containerd import require_containerd
from tests.daemon.images import TestImage, make_image
from tests.interop.namespaces import machines, require_namespaces
from tests.interop.spegel import OURS, Node, nodes

BINARY = os.environ.get("SPEGEL_BINARY", "")

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not BINARY, reason="SPEGEL_BINARY names no program of upstream Spegel"),
]


@pytest.fixture(params=[4, 6], ids=["IPv4", "IPv6"])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[Node]]:
    """Two nodes of upstream's and, between them, one of this program's."""
    require_namespaces()
    require_containerd()
    with machines(3, request.param) as three, nodes(three, [[BINARY], OURS, [BINARY]], tmp_path) as cluster:
        yield cluster


def image(number: int) -> tuple[TestImage, str]:
    return make_image(number, pullable=True, large=1_000_000), f"docker.io/library/app{number}:1"


def put(node: Node, number: int) -> None:
    node.put(*image(number))


def test_each_pulls_what_the_others_have_through_restarts(cluster: list[Node]) -> None:
    for number, node in enumerate(cluster):
        put(node, number)
        node.start()
    for node in cluster:
        node.wait_until_ready()
    for reader, node in enumerate(cluster):
        for number in range(len(cluster)):
            if number != reader:
                node.pull(*image(number))

    for number, restarted in enumerate(cluster, 10):
        restarted.stop()
        put(restarted, number)
        restarted.start()
        restarted.wait_until_ready()
        for node in cluster:
            if node is not restarted:
                node.pull(*image(number))

    for number, node in enumerate(cluster, 20):
        node.stop()
        put(node, number)
    for node in cluster:
        node.start()
    for reader, node in enumerate(cluster, 20):
        node.wait_until_ready()
        for number in range(20, 20 + len(cluster)):
            if number != reader:
                node.pull(*image(number))


def test_what_comes_while_they_run_is_found_too(cluster: list[Node]) -> None:
    upstream, ours, other = cluster
    put(upstream, 30)
    for node in cluster:
        node.start()
    for node in cluster:
        node.wait_until_ready()
    put(ours, 31)
    for node in (upstream, other):
        node.pull(*image(31))
    ours.pull(*image(30))
    other.pull(*image(30))
