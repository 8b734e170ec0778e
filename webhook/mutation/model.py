"""The vocabulary of the mutation: what goes in beside the OperatingSystemConfig, and what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Operation = dict[str, Any]
"""One operation of a JSON patch (RFC 6902 section 4)."""


class MutationError(Exception):
    """The OperatingSystemConfig cannot be mutated; the message says which part of it and why."""


@dataclass(frozen=True, slots=True)
class LocalHost:
    """The registry of the node's own daemon, as containerd addresses it."""

    url: str
    """Without a trailing slash: ``http://localhost:5000``."""
    capabilities: tuple[str, ...]
    """Of ``pull`` and ``resolve``, in that order."""
    former_url: str | None = None
    """Where the OperatingSystemConfig still has it, when the port has changed since the last mutation."""


def local_url(registry_port: int) -> str:
    """Return the URL of the node's own registry."""
    return f"http://localhost:{registry_port}"


@dataclass(frozen=True, slots=True)
class Ports:
    """The TCP ports of the daemon on each node."""

    registry: int
    router: int
    metrics: int


@dataclass(frozen=True, slots=True)
class Program:
    """Where the node gets the daemon from, and how systemd watches over it."""

    image: str
    path_in_image: str
    watchdog_seconds: int
    """WatchdogSec of the unit; 0 leaves it out, for programs that do not notify systemd (upstream Spegel)."""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How the daemon learns whom to join."""

    url: str | None
    """The full URL of the bootstrapper's peer list; None leaves the bootstrap flags out."""
    certificate_secret: str | None
    """The Secret in the shoot's namespace that holds ca.crt, tls.crt and tls.key; None when it lacks any."""


@dataclass(frozen=True, slots=True)
class NodeContext:
    """Everything the mutation needs to know besides the OperatingSystemConfig."""

    ports: Ports
    resolve_tags: bool
    program: Program
    bootstrap: Bootstrap

    @property
    def local_host(self) -> LocalHost:
        """The host that comes first for every registry."""
        capabilities = ("pull", "resolve") if self.resolve_tags else ("pull",)
        return LocalHost(local_url(self.ports.registry), capabilities)


@dataclass(frozen=True, slots=True)
class Mutation:
    """The result: a JSON patch (empty when nothing changes) and what the caller should be warned of."""

    patch: list[Operation]
    warnings: list[str]
