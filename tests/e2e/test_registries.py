"""Registries of all kinds behind the cache: with credentials, with a mirror of their own, and away."""

from __future__ import annotations

import http.client
import re
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager

import grpclib
import pytest

from tests.e2e.figures import figure
from tests.e2e.landscape import Landscape
from tests.e2e.node.changes import CONTAINERD
from tests.e2e.node.machine import Node
from tests.e2e.offers import wait_until_offered
from tests.e2e.pulls import blobs_from_upstream, new_image
from tests.e2e.seed.upstream import CACHED, OPEN, PASSWORD, PRIVATE, USER, Upstream

MISS_SECONDS = 0.1
ABSENT = "sha256:" + "0" * 64


@contextmanager
def away(upstream: Upstream) -> Iterator[None]:
    """Let no registry answer meanwhile."""
    upstream.stop()
    try:
        yield
    finally:
        upstream.start()


def told(node: Node, image: str, error: grpclib.GRPCError) -> str:
    """Return what is said of a failed pull, to the kubelet or, with containerd 2, in containerd's log.

    To containerd 2 any answer of a host, such as the 404 of the local one, says more than none from the next.
    """
    if re.search(r"Version: +1\.", node.ctr("version")):
        return str(error)
    tag = image.rpartition(":")[2]
    return "".join(line for line in node.systemd.log(CONTAINERD).splitlines() if tag in line)


def test_what_was_pulled_with_credentials_is_served_to_peers(upstream: Upstream, nodes: list[Node]) -> None:
    image = new_image(upstream, registry=PRIVATE)
    mark = upstream.mark()
    nodes[0].pull(image, user=USER, password=PASSWORD)
    assert blobs_from_upstream(upstream, mark, nodes[0])
    wait_until_offered(nodes[0], image, nodes[1])
    nodes[1].pull(image, user=USER, password=PASSWORD)
    assert blobs_from_upstream(upstream, mark, nodes[1]) == []


def test_what_no_peer_has_is_not_given_without_credentials(upstream: Upstream, nodes: list[Node]) -> None:
    image = new_image(upstream, registry=PRIVATE)
    with pytest.raises(grpclib.GRPCError) as error:
        nodes[0].pull(image)
    reason = r"401 Unauthorized|no basic auth credentials"
    assert re.search(reason, told(nodes[0], image, error.value))


def test_the_local_host_stands_before_the_mirror_of_a_registry(nodes: list[Node]) -> None:
    for node in nodes:
        hosts = tomllib.loads(node.path(f"/etc/containerd/certs.d/{CACHED}/hosts.toml").read_text())
        assert list(hosts["host"]) == ["http://localhost:5000", "http://10.79.0.3:5000"]
        assert hosts["server"] == f"https://{CACHED}"


def test_a_mirror_of_a_registry_is_asked_after_the_peers_and_before_the_registry(
    upstream: Upstream, nodes: list[Node]
) -> None:
    image = new_image(upstream, registry=CACHED)
    mark, missed = upstream.mark(), figure(nodes[0], "spegel_mirror_requests_total", cache="miss")
    nodes[0].pull(image)
    assert figure(nodes[0], "spegel_mirror_requests_total", cache="miss") > missed, "peers were asked"
    assert {request.registry for request in upstream.requests(mark, nodes[0].address)} == {"cache"}
    wait_until_offered(nodes[0], image, nodes[1])
    nodes[1].pull(image)
    assert blobs_from_upstream(upstream, mark, nodes[1]) == []


def test_with_upstream_away_tags_and_manifests_come_from_peers(upstream: Upstream, nodes: list[Node]) -> None:
    image = new_image(upstream)
    nodes[2].pull(image)
    wait_until_offered(nodes[2], image, *nodes[:2])
    with away(upstream):
        nodes[0].pull(image)
        nodes[1].pull_with_ctr(image)
    for node in nodes[:2]:
        assert set(nodes[2].contents(image)) <= node.blobs()


def test_with_upstream_away_and_no_peer_the_error_is_upstreams(upstream: Upstream, nodes: list[Node]) -> None:
    image = new_image(upstream)
    with away(upstream), pytest.raises(grpclib.GRPCError) as error:
        nodes[0].pull(image)
    reason = f"dial tcp {upstream.names[OPEN]}:443: connect: connection refused"
    assert reason in told(nodes[0], image, error.value)


def test_a_miss_costs_a_pull_less_than_a_tenth_of_a_second(nodes: list[Node]) -> None:
    def miss() -> float:
        connection = http.client.HTTPConnection("127.0.0.1", 5000, timeout=10)
        started = time.perf_counter()
        connection.request("GET", f"/v2/team/app/blobs/{ABSENT}?ns=registry.test")
        status = connection.getresponse().status
        taken = time.perf_counter() - started
        connection.close()
        assert status == 404
        return taken

    # The best of some: what other programs do on this machine is not the cache's doing.
    assert min(nodes[0].machine.call(miss) for _ in range(5)) < MISS_SECONDS


def test_reconciling_again_changes_nothing_on_nodes(landscape: Landscape, nodes: list[Node]) -> None:
    before = landscape.osc()["spec"]
    assert landscape.osc()["spec"] == before
    pids = [node.systemd.pid("spegel.service") for node in nodes]
    landscape.apply(nodes)
    assert [node.systemd.pid("spegel.service") for node in nodes] == pids
