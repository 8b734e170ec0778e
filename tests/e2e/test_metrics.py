"""The daemon's figures reach node exporter, which shows them with its own."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.node.machine import Node
from tests.e2e.process import wait_until
from tests.e2e.pulls import new_image
from tests.e2e.seed.upstream import Upstream

PORT = 16909
"""Gardener's for node exporter."""
TEXTFILES = "/var/lib/node-exporter/textfile-collector"


def shown(node: Node) -> str:
    def ask() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    return node.machine.call(ask)


@pytest.fixture
def exporters(nodes: list[Node], logs: Path) -> Iterator[list[Node]]:
    """The nodes, with node exporter on each."""
    command = ["prometheus-node-exporter", f"--web.listen-address=:{PORT}"]
    command += ["--collector.disable-defaults", "--collector.textfile"]
    command += [f"--collector.textfile.directory={TEXTFILES}"]
    processes = [node.start(command, logs / node.name / "node-exporter.log") for node in nodes]
    for node, process in zip(nodes, processes, strict=True):
        node.machine.wait_for_port(PORT, process)
    yield nodes
    for process in processes:
        process.stop()


def test_node_exporter_shows_the_figures_of_each_daemon(upstream: Upstream, exporters: list[Node]) -> None:
    for node in exporters:
        node.pull(new_image(upstream))
        # The script writes them every 5 seconds.
        wait_until(partial(has_figures, node), f"figures of {node.name}")
        text = shown(node)
        assert "spegel_router_peers " in text
        assert "spegel_build_info{" in text
        assert "node_textfile_scrape_error 0" in text


def has_figures(node: Node) -> bool:
    return 'spegel_mirror_requests_total{cache="miss",registry="registry.test"}' in shown(node)
