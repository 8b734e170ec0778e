"""What a Shoot says of the extension is looked at in the garden, and reaches all nodes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.e2e.landscape import Landscape
from tests.e2e.node.machine import CERTS_D, Node
from tests.e2e.offers import wait_until_offered
from tests.e2e.process import wait_until
from tests.e2e.pulls import blobs_from_upstream, new_image
from tests.e2e.seed.upstream import Upstream
from tests.e2e.seed.webhook import DeniedError

DEFAULT_PORT, PORT = 5000, 5123


def config(**fields: Any) -> dict[str, Any]:
    kind = {"apiVersion": "spegel.extensions.gardener.cloud/v1alpha1", "kind": "SpegelConfig"}
    return {**kind, **fields}


def use(landscape: Landscape, port: int) -> None:
    """Let all nodes have another port for the registry."""
    landscape.configure(config(registryPort=port))
    # The webhook uses what it has read for 3 seconds; gardenlet takes longer to come to this.
    wait_until(lambda: f"--registry-addr=:{port}" in str(landscape.osc()["spec"]), f"port {port}")
    landscape.apply(list(landscape.nodes.values()))


@pytest.fixture
def configurable(landscape: Landscape) -> Iterator[Landscape]:
    """A landscape that has the default port again afterwards."""
    yield landscape
    use(landscape, DEFAULT_PORT)


def test_a_shoot_that_says_something_impossible_is_refused(landscape: Landscape) -> None:
    with pytest.raises(DeniedError, match=r"spec\.extensions\[0\]\.providerConfig\.registryPort: Invalid"):
        landscape.configure(config(registryPort=70000))


def test_another_port_reaches_all_nodes_and_they_go_on_sharing(
    configurable: Landscape, upstream: Upstream, nodes: list[Node]
) -> None:
    use(configurable, PORT)
    for node in nodes:
        wait_until(partial(node.machine.listens, PORT), f"port {PORT} of {node.name}")
        assert not node.machine.listens(DEFAULT_PORT)
        for path in node.path(CERTS_D).glob("*/hosts.toml"):
            assert f"http://localhost:{PORT}" in path.read_text()
            assert f"localhost:{DEFAULT_PORT}" not in path.read_text()
    image = new_image(upstream)
    nodes[0].pull(image)
    wait_until_offered(nodes[0], image, nodes[1], port=PORT)
    mark = upstream.mark()
    nodes[1].pull(image)
    assert blobs_from_upstream(upstream, mark, nodes[1]) == []
