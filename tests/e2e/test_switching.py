"""The extension is switched off for a shoot with nodes, and on again."""

from __future__ import annotations

import json

from tests.e2e.figures import wait_for_peers
from tests.e2e.landscape import Landscape
from tests.e2e.node.machine import Node
from tests.e2e.offers import wait_until_offered
from tests.e2e.pulls import blobs_from_upstream, new_image
from tests.e2e.seed.upstream import Upstream

UNITS = ("spegel.service", "spegel-metrics.service")


def test_switched_off_it_leaves_nothing_and_switched_on_again_it_works(
    landscape: Landscape, upstream: Upstream, nodes: list[Node]
) -> None:
    landscape.gardenlet.disable()
    try:
        assert "spegel" not in json.dumps(landscape.osc()["spec"])
        assert landscape.gardenlet.leftovers() == []
        landscape.apply(nodes)
        image = new_image(upstream)
        for node in nodes:
            assert {node.systemd.state(unit) for unit in UNITS} == {"inactive"}
            for path in ("/opt/bin/spegel", "/etc/spegel/bootstrap/tls.key"):
                assert not node.path(path).exists()
            assert "localhost:5000" not in everything_below(node, "/etc/containerd/certs.d")
            mark = upstream.mark()
            node.pull(image)
            assert blobs_from_upstream(upstream, mark, node)
    finally:
        landscape.gardenlet.enable()
        landscape.control.wait_for_bootstrapper()
        landscape.apply(nodes)
    for node in nodes:
        wait_for_peers(node, 2)
    image = new_image(upstream)
    nodes[0].pull(image)
    wait_until_offered(nodes[0], image, nodes[1])
    mark = upstream.mark()
    nodes[1].pull(image)
    assert blobs_from_upstream(upstream, mark, nodes[1]) == []


def everything_below(node: Node, directory: str) -> str:
    return "".join(path.read_text() for path in node.path(directory).rglob("*") if path.is_file())
