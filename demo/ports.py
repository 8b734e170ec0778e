"""Ports for the nodes' daemons: a Shoot's defaults where these are free, others where not."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Sequence

from api import defaults

_DEFAULTS = {
    "registryPort": defaults.REGISTRY_PORT,
    "routerPort": defaults.ROUTER_PORT,
    "metricsPort": defaults.METRICS_PORT,
}
"""By field of a SpegelConfig."""
_TURN = "\0registry-spegel-demo"
"""An abstract socket, which one process of a network namespace can have."""


@contextlib.contextmanager
def replacements(addresses: Sequence[str]) -> Iterator[dict[str, tuple[int, int]]]:
    """Give, by field of a SpegelConfig, the defaults that are taken on one of the addresses, and others.

    Another demo on this machine has the defaults, or is about to take them, while this is entered.
    """
    with socket.socket(socket.AF_UNIX) as turn:
        try:
            turn.bind(_TURN)
            first = True
        except OSError:
            first = False
        found: dict[str, tuple[int, int]] = {}
        for field, port in _DEFAULTS.items():
            if not (first and _is_free(addresses, port)):
                taken = {*_DEFAULTS.values(), *(new for _, new in found.values())}
                found[field] = port, _free_port(addresses, taken)
        yield found


def _free_port(addresses: Sequence[str], taken: set[int]) -> int:
    while True:
        with socket.socket() as probe:
            probe.bind((addresses[0], 0))
            port: int = probe.getsockname()[1]
        if port not in taken and _is_free(addresses, port):
            return port


def _is_free(addresses: Sequence[str], port: int) -> bool:
    with contextlib.ExitStack() as probes:
        for address in addresses:
            try:
                probes.enter_context(
                    socket.create_server((address, port))
                )  # with SO_REUSEADDR, as servers do
            except OSError:
                return False
    return True
