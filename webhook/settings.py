"""The settings of the webhook, see serving.settings."""

from __future__ import annotations

import ipaddress
from importlib.metadata import version
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, IPvAnyAddress, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings

from serving import settings
from webhook.mutation.model import Program

DISTRIBUTION = "gardener-extension-registry-spegel"
REPOSITORY = "europe-docker.pkg.dev/gardener-project/public/gardener/extensions/registry-spegel/spegel"
"""Where the releases of our own daemon are."""
WATCHDOG_SECONDS = 30
_VERSION = version(DISTRIBUTION)

# distribution/reference: [domain[:port]/]path[:tag][@digest], and nothing that systemd or a shell minds.
_IMAGE = (
    r"^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]+)?/)?"
    r"[a-z0-9]+([._/-]+[a-z0-9]+)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$"
)
_PATH = r"^(/[A-Za-z0-9_+-][A-Za-z0-9._+-]*)+$"


class ProgramSettings(BaseSettings):
    """What the nodes are to run."""

    model_config = settings.configuration("WEBHOOK_")

    daemon_image: str = Field(
        f"{REPOSITORY}:v{_VERSION}",
        pattern=_IMAGE,
        max_length=512,
        description="Image that holds the program for the nodes: ours by default, or that of upstream Spegel",
    )
    daemon_path: str = Field(
        "/spegel", pattern=_PATH, max_length=512, description="Path of the program in that image"
    )
    watchdog_seconds: int | None = Field(
        None,
        ge=0,
        le=3600,
        description=f"WatchdogSec of spegel.service, 0 for none; by default {WATCHDOG_SECONDS} when the "
        "image is of our own repository and 0 otherwise, because upstream's program does not notify systemd",
    )

    @property
    def program(self) -> Program:
        """The program as the mutation wants it."""
        seconds = self.watchdog_seconds
        if seconds is None:
            seconds = WATCHDOG_SECONDS if _repository(self.daemon_image) == REPOSITORY else 0
        return Program(self.daemon_image, self.daemon_path, seconds)


class ServerSettings(ProgramSettings):
    """What ``python -m webhook serve`` runs with."""

    address: IPvAnyAddress = Field(
        ipaddress.IPv4Address("0.0.0.0"),  # noqa: S104 - a pod is reached at the address of its network
        description="IP address to listen on; :: also takes IPv4",
    )
    port: int = Field(10250, ge=0, le=65535, description="TCP port to listen on; 0 for any free one")
    tls_certificate: Path | None = Field(
        None,
        description="File with the serving certificate and its chain (PEM); read again when it changes. "
        "Without certificate and key the server speaks plain HTTP, and only on a loopback address",
    )
    tls_key: Path | None = Field(None, description="File with the private key of the certificate (PEM)")
    workers: int = Field(
        1, ge=1, le=64, description="Processes; each has a cache of its own, so more of them read more"
    )
    threads: int = Field(32, ge=1, le=256, description="Requests that a process works on at the same time")
    max_body_bytes: int = Field(
        8 << 20,
        ge=1 << 10,
        le=1 << 28,
        description="Largest request body that is taken; a larger one is refused (413)",
    )
    client_timeout_seconds: float = Field(
        10, gt=0, le=300, description="Time a client has to send a whole request, and to take the answer"
    )
    shutdown_timeout_seconds: int = Field(
        20, ge=1, le=300, description="Time that requests under way have to end after SIGTERM"
    )
    kubeconfig: Path | None = Field(
        None,
        description="File with address and credentials of the API server; by default those of the pod, and "
        "outside of a pod the file that KUBECONFIG names or ~/.kube/config",
    )
    api_timeout_seconds: float = Field(
        2.5,
        gt=0,
        le=30,
        description="Time that the API server has for each of the at most three reads of an admission; the "
        "sum should stay below the webhook's timeout of 10 s",
    )
    readiness_timeout_seconds: float = Field(
        1, gt=0, le=30, description="Time that the API server has to answer before /readyz fails"
    )
    cache_seconds: float = Field(
        3, ge=0, le=60, description="Time for which what was read about a shoot is used again; 0 for not"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe level of the lines that are logged (JSON, on stderr)"
    )

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise PydanticCustomError("tls", "--tls-certificate and --tls-key: only both together")
        if self.tls_certificate is None and not self.address.is_loopback:
            raise PydanticCustomError(
                "tls", "--tls-certificate and --tls-key: needed unless --address is a loopback address"
            )
        return self


def markdown_table() -> str:
    """Return the table of all settings for docs/configuration.md."""
    # The version of the day would make every release touch the document.
    return settings.markdown_table(ServerSettings).replace(f":v{_VERSION}`", ":v<version>`")


def _repository(image: str) -> str:
    without_digest = image.partition("@")[0]
    head, slash, last = without_digest.rpartition("/")
    return head + slash + last.partition(":")[0]


if __name__ == "__main__":
    print(markdown_table(), end="")  # noqa: T201 - prints what the documentation quotes
