"""Nodes find each other through the bootstrapper, and get on without it."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator

import pytest

from tests.e2e.asking import CERTIFICATES, addresses, ask
from tests.e2e.figures import wait_for_peers
from tests.e2e.landscape import Landscape
from tests.e2e.node.machine import Node
from tests.e2e.offers import wait_until_offered
from tests.e2e.pulls import blobs_from_upstream, new_image
from tests.e2e.seed.upstream import Upstream


@pytest.fixture
def late(landscape: Landscape) -> Iterator[list[Node]]:
    """Nodes that a story adds; they are gone afterwards."""
    added: list[Node] = []
    yield added
    for node in added:
        landscape.leave(node)


def test_each_node_knows_the_others_by_the_bootstrapper(nodes: list[Node]) -> None:
    for node in nodes:
        wait_for_peers(node, 2)


def test_the_bootstrapper_names_the_nodes_to_who_has_the_certificate_that_nodes_get(
    landscape: Landscape, nodes: list[Node]
) -> None:
    found = addresses(nodes[0], landscape, nodes[0].path(CERTIFICATES))
    assert found == [node.address for node in nodes]


def test_without_a_certificate_the_bootstrapper_tells_nothing(
    landscape: Landscape, nodes: list[Node]
) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
        ask(nodes[0], landscape, nodes[0].path(CERTIFICATES), shows_certificate=False)


def test_a_node_that_joins_pulls_from_the_others_what_they_have(
    landscape: Landscape, upstream: Upstream, nodes: list[Node], late: list[Node]
) -> None:
    image = new_image(upstream)
    nodes[0].pull(image)
    (node,) = landscape.join(14)
    late.append(node)
    wait_for_peers(node, 3)
    wait_until_offered(nodes[0], image, node)
    mark = upstream.mark()
    node.pull(image)
    assert blobs_from_upstream(upstream, mark, node) == []


def test_without_the_bootstrapper_a_new_node_works_alone_and_joins_when_it_is_back(
    landscape: Landscape, upstream: Upstream, nodes: list[Node], late: list[Node]
) -> None:
    first, second = new_image(upstream), new_image(upstream)
    nodes[1].pull(first)
    nodes[1].pull(second)
    landscape.stop_bootstrapper()
    try:
        (node,) = landscape.join(15)
        late.append(node)
        mark = upstream.mark()
        node.pull(first)
        assert blobs_from_upstream(upstream, mark, node), "nobody else can be known"
    finally:
        landscape.start_bootstrapper()
    wait_for_peers(node, 3)
    wait_until_offered(nodes[1], second, node)
    mark = upstream.mark()
    node.pull(second)
    assert blobs_from_upstream(upstream, mark, node) == []


def test_nodes_that_know_each_other_need_the_bootstrapper_no_more(
    landscape: Landscape, upstream: Upstream, nodes: list[Node]
) -> None:
    image = new_image(upstream)
    landscape.stop_bootstrapper()
    try:
        nodes[2].pull(image)
        wait_until_offered(nodes[2], image, nodes[0])
        mark = upstream.mark()
        nodes[0].pull(image)
        assert blobs_from_upstream(upstream, mark, nodes[0]) == []
    finally:
        landscape.start_bootstrapper()


def test_while_the_shoots_api_server_is_away_the_bootstrapper_names_the_nodes_that_it_knew(
    landscape: Landscape, nodes: list[Node]
) -> None:
    certificates = nodes[0].path(CERTIFICATES)
    before = addresses(nodes[0], landscape, certificates)
    landscape.control.shoot.server.stop()
    try:
        assert addresses(nodes[0], landscape, certificates) == before
    finally:
        landscape.control.machine.call(landscape.control.shoot.server.start)
