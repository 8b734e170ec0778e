"""SpegelConfig as the rest of the project works with it: of no version, every field set."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SpegelConfig:
    """The configuration of the daemon on each node of a shoot."""

    registry_port: int
    router_port: int
    metrics_port: int
    resolve_tags: bool

    @property
    def ports(self) -> dict[str, int]:
        """The TCP ports by the names that the API gives them."""
        return {
            "registryPort": self.registry_port,
            "routerPort": self.router_port,
            "metricsPort": self.metrics_port,
        }
