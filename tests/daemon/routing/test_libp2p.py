"""The libp2p router: several of them on loopback."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from daemon.routing.base import Router
from tests.daemon.routing.conformance import RouterConformance
from tests.daemon.routing.loopback import network


class TestLibp2pRouter(RouterConformance):
    def network(self, count: int) -> AbstractAsyncContextManager[Sequence[Router]]:
        return network(count)
