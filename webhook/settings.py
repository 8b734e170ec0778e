"""The settings: environment variables ``WEBHOOK_<NAME>`` and, for a person, flags ``--<name>``.

What is said here about a setting (name, default, meaning, range) is all there is: the flags, their help
and the table in docs/configuration.md are made of it.
"""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import Field, IPvAnyAddress, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from webhook.mutation.model import Program

DISTRIBUTION = "gardener-extension-registry-spegel"
REPOSITORY = "europe-docker.pkg.dev/gardener-project/public/gardener/extensions/registry-spegel/spegel"
"""Where the releases of our own daemon are."""
WATCHDOG_SECONDS = 30
PREFIX = "WEBHOOK_"
_VERSION = version(DISTRIBUTION)

# distribution/reference: [domain[:port]/]path[:tag][@digest], and nothing that systemd or a shell minds.
_IMAGE = (
    r"^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]+)?/)?"
    r"[a-z0-9]+([._/-]+[a-z0-9]+)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$"
)
_PATH = r"^(/[A-Za-z0-9_+-][A-Za-z0-9._+-]*)+$"


class SettingsError(Exception):
    """Settings that cannot be used; the message says of each how it is spelled and what is wrong."""


class ProgramSettings(BaseSettings):
    """What the nodes are to run."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, validate_default=True
    )

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


Settings = TypeVar("Settings", bound=ProgramSettings)


def add_flags(parser: argparse.ArgumentParser, settings: type[ProgramSettings]) -> None:
    """Give a command a flag for each setting."""
    group = parser.add_argument_group(
        "settings", f"Each may also be given as an environment variable: --some-name as {PREFIX}SOME_NAME."
    )
    for name, field in settings.model_fields.items():
        default = "" if field.default is None else f" [{field.default}]"
        help_text = f"{field.description}{default}".replace("%", "%%")
        metavar = name.rpartition("_")[2].upper()
        group.add_argument(f"--{name.replace('_', '-')}", metavar=metavar, help=help_text)


def load(settings: type[Settings], flags: Mapping[str, object]) -> Settings:
    """Read the settings; flags that are not None win over the environment.

    Raises:
        SettingsError: naming all that is wrong.
    """
    given: dict[str, Any] = {
        name: flags[name] for name in settings.model_fields if flags.get(name) is not None
    }
    try:
        return settings(**given)
    except ValidationError as error:
        raise SettingsError("; ".join(_describe(detail) for detail in error.errors())) from None


def markdown_table() -> str:
    """Return the table of all settings for docs/configuration.md."""
    lines = ["| flag | environment variable | default | meaning |", "|---|---|---|---|"]
    for name, field in ServerSettings.model_fields.items():
        # The version of the day would make every release touch the document.
        default = "" if field.default is None else f"`{field.default}`".replace(_VERSION, "<version>")
        flag, variable = f"--{name.replace('_', '-')}", f"{PREFIX}{name.upper()}"
        lines.append(f"| `{flag}` | `{variable}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


def _describe(error: Mapping[str, object]) -> str:
    location = error["loc"]
    if not isinstance(location, tuple) or not location:
        return str(error["msg"])
    name = str(location[0])
    spelled = f"--{name.replace('_', '-')} ({PREFIX}{name.upper()})"
    return f"{spelled}: {error['msg']}, not {error['input']!r}"


def _repository(image: str) -> str:
    without_digest = image.partition("@")[0]
    head, slash, last = without_digest.rpartition("/")
    return head + slash + last.partition(":")[0]


if __name__ == "__main__":
    print(markdown_table(), end="")  # noqa: T201 - prints what the documentation quotes
