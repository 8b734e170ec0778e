"""Clusters of whole daemons, this one or upstream Spegel, each on a machine of its own with containerd."""

from __future__ import annotations

import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cluster.daemon_process import resident
from tests.daemon.images import make_image
from tests.interop.namespaces import machines
from tests.interop.spegel import Node, nodes

_NODES = 8
_IMAGES = 20
_FIGURE = re.compile(r'^spegel_resolve_duration_seconds_(sum|count)\{router="libp2p"\} (\S+)$', re.MULTILINE)
_QUIET = 15.0


def compare(program: Sequence[str]) -> list[str]:
    """Measure a cluster: time to find a peer, time to answer for a manifest of another node, memory."""
    images = [[make_image(node * 100 + number) for number in range(_IMAGES)] for node in range(_NODES)]
    with (
        tempfile.TemporaryDirectory() as directory,
        machines(_NODES, 4) as hosts,
        nodes(hosts, [list(program)] * _NODES, Path(directory)) as cluster,
    ):
        for number, node in enumerate(cluster):
            for index, image in enumerate(images[number]):
                node.put(image, f"docker.io/library/app{number}-{index}:1")
            node.start()
        for node in cluster:
            node.wait_until_ready()
        time.sleep(_QUIET)
        latencies = []
        for number, node in enumerate(cluster):
            others = [images[other][number] for other in range(_NODES) if other != number]
            urls = [
                f"http://127.0.0.1:5000/v2/library/x/manifests/{image.index}?ns=docker.io" for image in others
            ]
            latencies += _ask(node, urls)
        resolved = [_resolve(node) for node in cluster]
        memory = statistics.mean(resident(node.pid) for node in cluster)
    seconds, count = (sum(column) for column in zip(*resolved, strict=True))
    figures = (seconds / count, statistics.median(latencies), max(latencies))
    return [*(f"{1000 * figure:.1f}" for figure in figures), f"{memory:.0f}"]


def _ask(node: Node, urls: Sequence[str]) -> list[float]:
    """Ask for manifests over one connection, as containerd does; return the seconds of each."""
    command = ["curl", "--silent", "--fail", "--write-out", "%{stderr}%{time_total}\n", *urls]
    done = subprocess.run(node.command(*command), check=True, capture_output=True, text=True, timeout=60)
    return [float(line) for line in done.stderr.split()]


def _resolve(node: Node) -> tuple[float, float]:
    command = node.command("curl", "--silent", "http://127.0.0.1:9090/metrics")
    text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    figures = {name: float(value) for name, value in _FIGURE.findall(text)}
    return figures["sum"], figures["count"]
