"""What one node has pulled, the others get from it: by the kubelet's call and by ctr, small and large."""

from __future__ import annotations

import random
from collections import Counter

from tests.daemon.images import TestImage, make_image
from tests.e2e.node.machine import Node
from tests.e2e.offers import wait_until_offered
from tests.e2e.pulls import blobs_from_upstream
from tests.e2e.seed.images import two_platforms
from tests.e2e.seed.upstream import Upstream

GIB = 2**30


def unseen(*, large: int = 0) -> TestImage:
    """Return an image of which nobody has seen any blob."""
    return make_image(new_seed(), layers=4, large=large, pullable=True)


def new_seed() -> int:
    return random.SystemRandom().getrandbits(64)


def test_the_first_node_asks_upstream_once_for_each_blob(upstream: Upstream, nodes: list[Node]) -> None:
    image = unseen()
    name = upstream.publish(image)
    mark = upstream.mark()
    nodes[0].pull(name)
    asked = Counter(request.path.rpartition("/")[2] for request in upstream.requests(mark) if request.is_blob)
    assert asked == Counter(dict.fromkeys((image.config, *image.layers), 1))


def test_the_other_nodes_ask_upstream_for_no_blob_whoever_pulls(
    upstream: Upstream, nodes: list[Node]
) -> None:
    image = unseen(large=16 * 2**20)
    name = upstream.publish(image)
    nodes[0].pull(name)
    wait_until_offered(nodes[0], name, *nodes[1:])
    mark = upstream.mark()
    nodes[1].pull(name)
    nodes[2].pull_with_ctr(name)
    assert [request for request in upstream.requests(mark) if request.is_blob] == []
    for node in nodes[1:]:
        assert set(image.blobs) <= node.blobs()


def test_of_an_index_a_node_gets_its_own_platform_from_a_peer(upstream: Upstream, nodes: list[Node]) -> None:
    image = two_platforms(new_seed())
    name = upstream.publish(image)
    nodes[1].pull(name)
    wait_until_offered(nodes[1], name, nodes[2])
    mark = upstream.mark()
    nodes[2].pull(name)
    assert upstream.requests(mark) == [], "the name, the index and the manifest come from the peer too"
    own = {image.index, image.manifest, image.config, *image.layers}
    assert nodes[2].blobs() & set(image.blobs) == own


def test_a_layer_of_a_gibibyte_comes_from_a_peer(upstream: Upstream, nodes: list[Node]) -> None:
    image = make_image(new_seed(), layers=1, large=GIB, pullable=True)
    name = upstream.publish(image)
    nodes[0].pull(name)
    wait_until_offered(nodes[0], name, nodes[1])
    mark = upstream.mark()
    nodes[1].pull(name)
    assert blobs_from_upstream(upstream, mark, nodes[1]) == []
    assert set(image.blobs) <= nodes[1].blobs()
    for node in nodes[:2]:
        node.remove(name)


def test_what_was_pulled_before_the_daemon_ran_as_the_pause_image_is_offered_once_it_runs(
    upstream: Upstream, nodes: list[Node]
) -> None:
    name = upstream.publish(unseen(), "pause-like")
    nodes[0].systemd.stop("spegel.service")
    nodes[0].pull(name)
    nodes[0].systemd.start("spegel.service")
    wait_until_offered(nodes[0], name, nodes[1])
    mark = upstream.mark()
    nodes[1].pull(name)
    assert blobs_from_upstream(upstream, mark, nodes[1]) == []
