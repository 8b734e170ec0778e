"""The settings of the bootstrapper, see serving.settings."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, IPvAnyAddress, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings

from bootstrapper.answers import MAX_LIMIT
from serving import settings


class NodesSettings(BaseSettings):
    """Which nodes are served, and in which order."""

    model_config = settings.configuration("BOOTSTRAPPER_")

    kubeconfig: Path | None = Field(
        None,
        description="File with address and credentials of the cluster's API server, read anew for each "
        "request; by default those of the pod, and outside of a pod the file that KUBECONFIG names or "
        "~/.kube/config",
    )
    nodes_file: Path | None = Field(
        None,
        description="File with Nodes (YAML or JSON, as kubectl get nodes prints them) in place of an API "
        "server; read again when it changes",
    )
    limit: int = Field(
        10, ge=1, le=MAX_LIMIT, description="Nodes in an answer, unless the client says another ?limit="
    )
    not_ready_seconds: float = Field(
        300,
        ge=0,
        le=86400,
        description="Time for which a node may be NotReady before it is named last, with those being deleted",
    )
    api_timeout_seconds: float = Field(
        10, gt=0, le=60, description="Time that the API server has for each page of 100 nodes"
    )


class ServerSettings(NodesSettings):
    """What ``python -m bootstrapper serve`` runs with."""

    address: IPvAnyAddress = Field(
        ipaddress.IPv4Address("0.0.0.0"),  # noqa: S104 - a pod is reached at the address of its network
        description="IP address to listen on; :: also takes IPv4",
    )
    port: int = Field(8443, ge=0, le=65535, description="TCP port for the nodes; 0 for any free one")
    probe_port: int = Field(
        8080,
        ge=0,
        le=65535,
        description="TCP port for /healthz, /readyz and /metrics, without TLS; 0 for any free one",
    )
    tls_certificate: Path | None = Field(
        None,
        description="File with the serving certificate and its chain (PEM). The three TLS files are read "
        "again when they change; without them the server speaks plain HTTP, and only on a loopback address",
    )
    tls_key: Path | None = Field(None, description="File with the private key of the certificate (PEM)")
    client_authorities: Path | None = Field(
        None,
        description="File with the certificates (PEM) of the authorities of which a client must have a "
        "certificate; two during a rotation",
    )
    workers: int = Field(
        1,
        ge=1,
        le=16,
        description="Processes; one of them watches the nodes, all answer from what it has read",
    )
    threads: int = Field(8, ge=1, le=256, description="Requests that a process works on at the same time")
    connections: int = Field(
        4096,
        ge=64,
        le=65536,
        description="Connections that a process has open at the same time; beyond that the one that has been "
        "quiet for longest is closed",
    )
    quiet_connections: int = Field(
        256,
        ge=16,
        le=65536,
        description="Of these, those after a TLS handshake and without a request under way, which take 25 KB "
        "each; beyond that too the one that has been quiet for longest is closed",
    )
    client_timeout_seconds: float = Field(
        10,
        gt=0,
        le=300,
        description="Time a client has for the handshake and a whole request, and to take the answer",
    )
    keepalive_seconds: int = Field(
        30, ge=1, le=300, description="Time for which a connection is kept for the client's next request"
    )
    rate: float = Field(
        500,
        gt=0,
        le=1e6,
        description="Connections and requests a second, together, from one address in the long run. Behind a "
        "gateway that passes TLS through, all nodes come from its few addresses",
    )
    burst: int = Field(
        10000,
        ge=1,
        le=10_000_000,
        description="The same, at once after a rest: when all nodes start together",
    )
    shutdown_timeout_seconds: int = Field(
        20, ge=1, le=300, description="Time that requests under way have to end after SIGTERM"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe level of the lines that are logged (JSON, on stderr)"
    )

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        flags = "--tls-certificate, --tls-key and --client-authorities"
        files = (self.tls_certificate, self.tls_key, self.client_authorities)
        if any(files) and not all(files):
            raise PydanticCustomError("tls", f"{flags}: only all three together")
        if not any(files) and not self.address.is_loopback:
            raise PydanticCustomError("tls", f"{flags}: needed unless --address is a loopback address")
        return self


def markdown_table() -> str:
    """Return the table of all settings for docs/bootstrapper.md."""
    return settings.markdown_table(ServerSettings)


if __name__ == "__main__":
    print(markdown_table(), end="")  # noqa: T201 - prints what the documentation quotes
