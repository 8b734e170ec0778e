"""Nodes find each other through the bootstrapper, and get on without it."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.figures import wait_for_peers
from tests.e2e.landscape import Landscape
from tests.e2e.node.machine import Node
from tests.e2e.offers import wait_until_offered
from tests.e2e.pulls import blobs_from_upstream, new_image
from tests.e2e.seed.upstream import Upstream

CERTIFICATES = "/etc/spegel/bootstrap"


def ask(node: Node, landscape: Landscape, directory: Path | None, path: str = "/bootstrap-nodes") -> object:
    """Ask the bootstrapper from a node, with the certificate of a directory, or none."""
    url = urlsplit(landscape.gardenlet.bootstrap_secret()["url"].decode())
    host = url.hostname or ""
    trust = ssl.create_default_context(cafile=node.path(f"{CERTIFICATES}/ca.crt"))
    if directory is not None:
        trust.load_cert_chain(directory / "tls.crt", directory / "tls.key")

    def get() -> object:
        connection = http.client.HTTPConnection(host)
        with contextlib.closing(connection):
            plain = socket.create_connection((landscape.names[host], 443), 10)
            connection.sock = trust.wrap_socket(plain, server_hostname=host)
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())

    return node.machine.call(get)


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
    answer = ask(nodes[0], landscape, nodes[0].path(CERTIFICATES))
    assert isinstance(answer, list)
    assert [entry["IP"] for entry in answer] == [node.address for node in nodes]


def test_without_a_certificate_the_bootstrapper_tells_nothing(
    landscape: Landscape, nodes: list[Node]
) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
        ask(nodes[0], landscape, None)


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
    before = ask(nodes[0], landscape, certificates)
    landscape.control.shoot.server.stop()
    try:
        assert ask(nodes[0], landscape, certificates) == before
    finally:
        landscape.control.machine.call(landscape.control.shoot.server.start)
