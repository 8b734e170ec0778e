"""The systemd units of a node: the daemon, and the forwarder of its metrics.

A start that fails or hangs would fail the node's whole OperatingSystemConfig, and with it the shoot's
reconciliation: hence Type=simple, which is started once the program is executed, and no ExecStartPre.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from webhook.mutation.files import (
    CERTIFICATE_DIRECTORY,
    CERTIFICATE_PATHS,
    METRICS_FILE_PATH,
    METRICS_SCRIPT_PATH,
    PROGRAM_PATH,
)
from webhook.mutation.model import MutationError, NodeContext

STATE_DIRECTORY = "spegel"
"""Below /var/lib; keeps the node's libp2p identity over restarts, and what the program is unpacked to."""

_DAEMON = "spegel.service"
_REGISTRY_ADDRESS = "--registry-addr=:"
_REGISTRY_PORT = re.compile(rf"{_REGISTRY_ADDRESS}([0-9]{{1,5}})(?![0-9])")
_PLAIN_ARGUMENT = re.compile(r"[!#-&(-\[\]-~]+")  # printable ASCII without quotes, backslash and space


def units(context: NodeContext, files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Build the units; ``files`` are this project's files of the same OperatingSystemConfig.

    A changed file restarts the unit that names it in filePaths.

    Raises:
        MutationError: a value cannot stand in a unit's command line.
    """
    script = METRICS_SCRIPT_PATH
    program_files = [
        path for path in (file["path"] for file in files) if path == PROGRAM_PATH or path in CERTIFICATE_PATHS
    ]
    return [
        _unit(_DAEMON, _spegel_service(context), program_files),
        _unit("spegel-metrics.service", _metrics_service(), [script]),
    ]


def registry_port(existing: list[Mapping[str, Any]]) -> int | None:
    """Return the port that the daemon's unit has for its registry; None where there is no such unit."""
    for unit in existing:
        if unit.get("name") == _DAEMON and (port := _REGISTRY_PORT.search(str(unit.get("content")))):
            return int(port[1])
    return None


def _unit(name: str, content: str, file_paths: list[str]) -> dict[str, Any]:
    return {"name": name, "command": "start", "enable": True, "content": content, "filePaths": file_paths}


def _spegel_service(context: NodeContext) -> str:
    command = " \\\n    ".join([f"{PROGRAM_PATH} registry", *_flags(context)])
    return f"""\
[Unit]
Description=spegel daemon
Documentation=https://github.com/spegel-org/spegel
After=containerd.service
Requires=containerd.service
Before=kubelet.service
[Install]
WantedBy=multi-user.target
[Service]
Type=simple
Restart=always
RestartSec=5
{_watchdog(context.program.watchdog_seconds)}MemoryHigh=80M
MemoryMax=100M
StateDirectory={STATE_DIRECTORY}
Environment=SPEGEL_UNPACK_DIR=/var/lib/{STATE_DIRECTORY}/program
ExecStart={command}
"""


def _watchdog(seconds: int) -> str:
    # A hung daemon would cost containerd up to 30 s a request: hosts.toml entries of an
    # OperatingSystemConfig cannot carry a dial timeout. Whichever process of the unit notifies, it counts.
    return f"WatchdogSec={seconds}\nNotifyAccess=all\n" if seconds else ""


def _flags(context: NodeContext) -> list[str]:
    """Return the flags; upstream Spegel and the project's own daemon share them."""
    flags = [
        f"{_REGISTRY_ADDRESS}{context.ports.registry}",
        f"--router-addr=:{context.ports.router}",
        f"--metrics-addr=:{context.ports.metrics}",
        f"--data-dir=/var/lib/{STATE_DIRECTORY}",
    ]
    bootstrap = context.bootstrap
    if bootstrap.url is not None:
        flags += ["--bootstrap-kind=http", f"--http-bootstrap-url={_argument(bootstrap.url)}"]
        if bootstrap.certificate_secret is not None:
            flags.append(f"--http-bootstrap-cert-dir={CERTIFICATE_DIRECTORY}")
    return flags


def _argument(value: str) -> str:
    """Write a value as systemd reads it back: specifiers and variables are doubled (systemd.service(5))."""
    if not _PLAIN_ARGUMENT.fullmatch(value):
        raise MutationError(
            f"{value!r} cannot stand in a unit's command line: only printable ASCII can, "
            "without spaces, quotes and backslashes"
        )
    return value.replace("%", "%%").replace("$", "$$")


def _metrics_service() -> str:
    # The script removes the figures when it ends; systemd does where the script is killed.
    return f"""\
[Unit]
Description=spegel metrics daemon
Documentation=https://github.com/spegel-org/spegel
After=spegel.service
BindsTo=spegel.service
[Install]
WantedBy=multi-user.target spegel.service
[Service]
Type=simple
Restart=always
RestartSec=5
ExecStart={METRICS_SCRIPT_PATH}
ExecStopPost=-/bin/rm -f {METRICS_FILE_PATH}
"""
