"""What one client, and all clients together, may take up."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """All limits of a server; times in seconds.

    containerd on this node is the client that must never be kept out, so other hosts together may hold only a
    part of the connections.
    """

    connections: int = 1024
    remote_connections: int = 512
    """Of these, how many clients other than loopback may hold together."""
    client_connections: int = 64
    """And how many each of these clients may hold."""

    head: float = 10.0
    """From a connection's start, or a head's first byte, to the head's end."""
    idle: float = 60.0
    """Between an answer and the next request."""
    stall: float = 30.0
    """How long a client may take nothing of an answer."""
    answer: float = 60.0
    """From a request to the start of its answer."""
    transfer: float = 6 * 3600.0
    """From the start of an answer to its end."""
    lifetime: float = 3600.0
    """After this, a connection is not kept for another request."""
    linger: float = 2.0
    """How long a connection that is to end may go on sending, so that its client can read the last answer."""


def client_address(host: str) -> str:
    """Return an address as the kernel gives it without scope, and IPv4 addresses as such."""
    address = host.partition("%")[0]
    return address.removeprefix("::ffff:") if "." in address else address


def is_loopback(client: str) -> bool:
    """Tell whether a client is on this node, by what ``client_address`` returned."""
    return client == "::1" or client.startswith("127.")


class Scope(enum.Enum):
    """Among which connections a limit is reached; the values are labels of figures."""

    CLIENT = "client"
    """Those of the same client."""
    REMOTE = "remote"
    """Those of all clients but loopback."""
    ALL = "all"


class Admission:
    """Counts connections and says which limit keeps a further one out."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._total = 0
        self._remote: Counter[str] = Counter()

    def full(self, client: str) -> Scope | None:
        """Return where there is no room for one more connection of a client, None when there is."""
        if not is_loopback(client):
            if self._remote[client] >= self._limits.client_connections:
                return Scope.CLIENT
            if self._remote.total() >= self._limits.remote_connections:
                return Scope.REMOTE
        return Scope.ALL if self._total >= self._limits.connections else None

    def enter(self, client: str) -> None:
        """Count a connection in."""
        self._total += 1
        if not is_loopback(client):
            self._remote[client] += 1

    def leave(self, client: str) -> None:
        """Count it out."""
        self._total -= 1
        if not is_loopback(client):
            self._remote[client] -= 1
            if not self._remote[client]:
                del self._remote[client]
