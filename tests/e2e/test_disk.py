"""Disks that are full, or can only be read any more: the error is clear, and nobody else is hurt."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import grpclib
import pytest

from tests.daemon.clients.programs import missing
from tests.e2e.figures import wait_for_peers
from tests.e2e.landscape import Landscape
from tests.e2e.network import CommandError
from tests.e2e.node.changes import CONTAINERD
from tests.e2e.node.machine import Node
from tests.e2e.offers import wait_until_offered
from tests.e2e.process import wait_until
from tests.e2e.pulls import blobs_from_upstream, new_image
from tests.e2e.seed.upstream import Upstream

DAEMON = "spegel.service"
METRICS = "spegel-metrics.service"
DISK = "160M"
"""Enough for the program and an image."""
NUMBERS = count(21)
TOO_MUCH = 200 * 2**20


@pytest.fixture
def unlucky(landscape: Landscape, nodes: list[Node]) -> Iterator[Node]:
    """A node of its own for each story, which knows the others."""
    (node,) = landscape.join(next(NUMBERS))
    wait_for_peers(node, len(nodes))
    yield node
    landscape.leave(node)


def move(node: Node, mount: str) -> None:
    """Move a node's /var/lib to what a command mounts at /run/disk."""
    node.systemd.stop(CONTAINERD)
    script = (
        f"mkdir /run/disk; {mount} /run/disk; cp -a /var/lib/. /run/disk; mount --move /run/disk /var/lib"
    )
    try:
        node.machine.run("sh", "-ec", script)
    except CommandError as error:
        missing(f"no disk can be made here: {error}")
    node.systemd.start(CONTAINERD, DAEMON)


def restart_the_daemon(node: Node, nodes: list[Node]) -> None:
    node.systemd.restart(DAEMON)
    wait_for_peers(node, len(nodes))


def test_on_a_full_disk_a_pull_says_so_and_what_is_there_is_still_served(
    upstream: Upstream, nodes: list[Node], unlucky: Node
) -> None:
    had, wanted = new_image(upstream), new_image(upstream, size=TOO_MUCH)
    unlucky.pull(had)
    nodes[0].pull(wanted)
    move(unlucky, f"mount -t tmpfs -o size={DISK} tmpfs")
    wait_until_offered(unlucky, had, nodes[0])
    wait_until_offered(nodes[0], wanted, unlucky)

    with pytest.raises(grpclib.GRPCError, match="no space left on device"):
        unlucky.pull(wanted)

    def forwarder_says_so() -> bool:
        # Again and again, because containerd gives back the room that it took for what it could not pull.
        unlucky.machine.run("sh", "-c", "cat /dev/zero >>/var/lib/fill || true")
        log = unlucky.systemd.log(METRICS)
        return "spegel.prom" in log and "is the disk full?" in log

    wait_until(forwarder_says_so, "what the forwarder of figures says")
    restart_the_daemon(unlucky, nodes)
    wait_until_offered(unlucky, had, nodes[0])
    mark = upstream.mark()
    nodes[0].pull(had)
    assert blobs_from_upstream(upstream, mark, nodes[0]) == []


def test_a_daemon_that_cannot_be_unpacked_says_so_and_pulls_go_on_without_it(
    upstream: Upstream, nodes: list[Node], unlucky: Node
) -> None:
    image = new_image(upstream)
    unlucky.systemd.stop(DAEMON)
    unlucky.machine.run("rm", "-r", "/var/lib/spegel")
    unlucky.machine.run("mkdir", "/var/lib/spegel")
    unlucky.machine.run("mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", "/var/lib/spegel")
    unlucky.systemd.start(DAEMON)
    what = "cannot be unpacked to /var/lib/spegel/program: No space left on device"
    wait_until(lambda: what in unlucky.systemd.log(DAEMON), "what the daemon says")
    unlucky.pull(image)


def test_on_a_disk_that_can_only_be_read_a_pull_says_so_and_what_is_there_is_still_served(
    upstream: Upstream, nodes: list[Node], unlucky: Node
) -> None:
    had, wanted = new_image(upstream), new_image(upstream)
    unlucky.pull(had)
    move(unlucky, f"truncate -s {DISK} /run/ext4; mkfs.ext4 -q /run/ext4; mount -o loop /run/ext4")
    wait_until_offered(unlucky, had, nodes[1])
    unlucky.machine.run("mount", "-o", "remount,abort", "/var/lib")  # as after an error of the disk

    with pytest.raises(grpclib.GRPCError, match="read-only file system"):
        unlucky.pull(wanted)
    restart_the_daemon(unlucky, nodes)
    wait_until_offered(unlucky, had, nodes[1])
    mark = upstream.mark()
    nodes[1].pull(had)
    assert blobs_from_upstream(upstream, mark, nodes[1]) == []
