"""Nodes and programs that fail while they are needed: no pull fails for it."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.daemon.clients.programs import tag
from tests.daemon.images import TestImage, make_image
from tests.e2e.figures import wait_for_peers
from tests.e2e.network import CommandError
from tests.e2e.node.changes import CONTAINERD
from tests.e2e.node.machine import Node
from tests.e2e.offers import wait_until_offered
from tests.e2e.process import wait_until
from tests.e2e.pulls import blobs_from_upstream, new_image
from tests.e2e.seed.upstream import OPEN, Upstream

DAEMON = "spegel.service"
LARGE = 64 * 2**20
UNDER_WAY = 16 * 2**20
"""Bytes after which something happens to a transfer of LARGE."""
RATE = "160mbit"
"""So that a transfer takes some seconds."""


@pytest.fixture
def image(upstream: Upstream) -> TestImage:
    seed = random.SystemRandom().getrandbits(64)
    image = make_image(seed, layers=1, large=LARGE, pullable=True)
    upstream.publish(image)
    return image


def name_of(image: TestImage) -> str:
    return f"{OPEN}/team/app:{tag(image)}"


@pytest.fixture(autouse=True)
def _mended(nodes: list[Node]) -> Iterator[None]:
    """All nodes know each other before and after each story."""
    yield
    for node in nodes:
        wait_for_peers(node, len(nodes) - 1)


@contextlib.contextmanager
def narrow(nodes: Sequence[Node]) -> Iterator[None]:
    """Let nodes send slowly."""
    shape = ("root", "tbf", "rate", RATE, "burst", "256k", "latency", "100ms")
    for node in nodes:
        node.machine.run("tc", "qdisc", "add", "dev", "eth0", *shape)
    try:
        yield
    finally:
        for node in nodes:
            with contextlib.suppress(CommandError):  # one that was started again has a new interface
                node.machine.run("tc", "qdisc", "del", "dev", "eth0", "root")


def sent(node: Node) -> int:
    """Return the bytes that a node has sent since its start."""
    table = Path(f"/proc/{node.machine.pid}/net/dev").read_text().splitlines()
    (figures,) = (line.partition(":")[2].split() for line in table if line.strip().startswith("eth0:"))
    return int(figures[8])


def disturb(taker: Node, name: str, holders: Sequence[Node], happening: Callable[[Node], None]) -> None:
    """Let something happen while a node pulls from another one, which is told of; the pull must succeed."""
    for node in holders:
        node.pull(name)
        wait_until_offered(node, name, taker)
    with narrow(holders), ThreadPoolExecutor(1) as executor:
        before = {node.name: sent(node) for node in holders}

        def giver() -> Node | None:
            return next((node for node in holders if sent(node) - before[node.name] > UNDER_WAY), None)

        pull = executor.submit(taker.pull, name)
        node = wait_until(giver, "a transfer")
        assert not pull.done(), "it is too late for anything to happen"
        happening(node)
        pull.result()


def test_a_pull_goes_on_with_another_node_when_the_one_that_serves_it_is_lost(
    upstream: Upstream, nodes: list[Node], image: TestImage
) -> None:
    lost: list[Node] = []

    def lose(node: Node) -> None:
        node.power_off()
        lost.append(node)

    name = name_of(image)
    mark = upstream.mark()
    try:
        disturb(nodes[2], name, nodes[:2], lose)
        assert blobs_from_upstream(upstream, mark, nodes[2]) == []
    finally:
        for node in lost:
            node.boot()
    assert set(image.blobs) <= nodes[2].blobs()
    for node in lost:
        wait_until_offered(node, name, nodes[2])


def test_a_pull_goes_on_upstream_when_nobody_else_has_the_image(
    upstream: Upstream, nodes: list[Node], image: TestImage
) -> None:
    mark = upstream.mark()
    disturb(nodes[2], name_of(image), nodes[:1], lambda node: node.systemd.kill(DAEMON))
    (request,) = blobs_from_upstream(upstream, mark, nodes[2])
    assert request.status == 206
    assert request.size < LARGE - UNDER_WAY + 2**20, "what came from the peer is not fetched again"
    nodes[0].systemd.wait_until_active(DAEMON)


def test_a_restart_of_the_daemon_lets_the_pull_that_goes_through_it_finish(
    upstream: Upstream, nodes: list[Node], image: TestImage
) -> None:
    mark = upstream.mark()
    before = nodes[2].systemd.pid(DAEMON)
    disturb(nodes[2], name_of(image), nodes[:1], lambda _: nodes[2].systemd.restart(DAEMON))
    assert blobs_from_upstream(upstream, mark, nodes[2]) == []
    assert nodes[2].systemd.pid(DAEMON) != before


def test_a_pull_goes_on_upstream_when_the_nodes_own_daemon_is_killed(
    upstream: Upstream, nodes: list[Node], image: TestImage
) -> None:
    disturb(nodes[2], name_of(image), nodes[:1], lambda _: nodes[2].systemd.kill(DAEMON))
    assert set(image.blobs) <= nodes[2].blobs()
    nodes[2].systemd.wait_until_active(DAEMON)


def test_after_containerd_was_killed_all_goes_on_as_before(upstream: Upstream, nodes: list[Node]) -> None:
    known, new = new_image(upstream), new_image(upstream)
    nodes[0].pull(known)
    nodes[0].systemd.kill(CONTAINERD)
    wait_until(lambda: nodes[0].systemd.state(CONTAINERD) != "active", "the end of containerd")
    nodes[0].systemd.wait_until_active(CONTAINERD)
    nodes[0].systemd.wait_until_active(DAEMON)
    nodes[0].pull(new)
    for image in (known, new):
        wait_until_offered(nodes[0], image, nodes[1])
    mark = upstream.mark()
    nodes[1].pull(known)
    nodes[1].pull(new)
    assert blobs_from_upstream(upstream, mark, nodes[1]) == []


def test_a_node_whose_daemon_is_down_pulls_as_if_there_were_no_cache(
    upstream: Upstream, nodes: list[Node], image: TestImage
) -> None:
    name = name_of(image)
    nodes[0].pull(name)
    wait_until_offered(nodes[0], name, nodes[1])
    nodes[1].systemd.stop(DAEMON)
    try:
        mark = upstream.mark()
        nodes[1].pull(name)
        asked = Counter(one.path.rpartition("/")[2] for one in blobs_from_upstream(upstream, mark, nodes[1]))
        assert asked == Counter((image.config, *image.layers))
        assert list(nodes[1].path("/var/lib/node-exporter/textfile-collector").iterdir()) == [], "no figures"
    finally:
        nodes[1].systemd.start(DAEMON)
