"""What the daemon of a node says of itself."""

from __future__ import annotations

import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.node.machine import Node
from tests.e2e.process import wait_until

_URL = "http://127.0.0.1:9090/metrics"


def figure(node: Node, name: str, **labels: str) -> float:
    """Return the sum of all samples of a name that have these labels; 0 when there is none.

    Raises:
        OSError: the daemon does not answer.
    """
    text = node.machine.call(_read)
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def received(node: Node) -> int | None:
    """Return the bytes that a daemon has received from others since its start; None without a daemon."""
    try:
        return int(figure(node, "spegel_received_bytes_total"))
    except OSError:
        return None


def wait_for_peers(node: Node, count: int) -> None:
    """Wait until a node knows others."""

    def look() -> bool:
        try:
            return figure(node, "spegel_router_peers") >= count
        except OSError:
            return False

    wait_until(look, f"{count} other nodes that {node.name} knows")


def _read() -> str:
    with urllib.request.urlopen(_URL, timeout=5) as answer:
        return str(answer.read().decode())
