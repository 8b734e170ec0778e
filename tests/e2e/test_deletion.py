"""What a node has deleted it offers no more."""

from __future__ import annotations

from tests.e2e.node.machine import Node
from tests.e2e.offers import finds, wait_until_offered
from tests.e2e.process import wait_until
from tests.e2e.pulls import blobs_from_upstream, new_image
from tests.e2e.seed.upstream import Upstream


def test_an_image_that_was_deleted_and_collected_is_not_offered_any_more(
    upstream: Upstream, nodes: list[Node]
) -> None:
    image = new_image(upstream)
    nodes[0].pull(image)
    wait_until_offered(nodes[0], image, nodes[1])
    contents = nodes[0].contents(image)
    nodes[0].remove(image)
    wait_until(lambda: not nodes[0].blobs() & set(contents), "containerd's garbage collection")
    for digest in (None, *contents):
        assert not finds(nodes[1], image, digest), f"{digest} is offered by nobody"
    mark = upstream.mark()
    nodes[1].pull(image)
    assert blobs_from_upstream(upstream, mark, nodes[1]), "upstream has it still"
