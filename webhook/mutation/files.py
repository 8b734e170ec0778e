"""The files that a node gets: the program, the forwarder of its metrics, the bootstrap certificate."""

from __future__ import annotations

import base64
from importlib import resources
from typing import Any

from webhook.mutation.model import NodeContext

PROGRAM_PATH = "/opt/bin/spegel"
METRICS_SCRIPT_PATH = "/opt/bin/spegel_metrics.sh"
METRICS_FILE_PATH = "/var/lib/node-exporter/textfile-collector/spegel.prom"
"""What the script writes, by its own knowledge."""
CERTIFICATE_DIRECTORY = "/etc/spegel/bootstrap"
CERTIFICATE_KEYS = ("ca.crt", "tls.crt", "tls.key")
"""The keys of the Secret, and the names of the files that the daemon expects in the directory."""
CERTIFICATE_PATHS = tuple(f"{CERTIFICATE_DIRECTORY}/{key}" for key in CERTIFICATE_KEYS)

_EXECUTABLE = 0o755
_ROOT_ONLY = 0o600


def files(context: NodeContext) -> list[dict[str, Any]]:
    """Build the files.

    The private key never stands in the OperatingSystemConfig: gardenlet resolves a secretRef from the
    shoot's namespace when it packs the configuration for the node.
    """
    program = context.program
    image_ref = {"image": program.image, "filePathInImage": program.path_in_image}
    result = [
        _file(PROGRAM_PATH, _EXECUTABLE, {"imageRef": image_ref}),
        _file(METRICS_SCRIPT_PATH, _EXECUTABLE, inline(_metrics_script(context.ports.metrics))),
    ]
    secret = context.bootstrap.certificate_secret
    if secret is not None:
        result += [
            _file(path, _ROOT_ONLY, {"secretRef": {"name": secret, "dataKey": key}})
            for path, key in zip(CERTIFICATE_PATHS, CERTIFICATE_KEYS, strict=True)
        ]
    return result


def inline(text: str) -> dict[str, Any]:
    """Return the content of a file that holds a text."""
    return {"inline": {"encoding": "b64", "data": base64.b64encode(text.encode()).decode()}}


def _file(path: str, permissions: int, content: dict[str, Any]) -> dict[str, Any]:
    return {"path": path, "permissions": permissions, "content": content}


def _metrics_script(port: int) -> str:
    script = resources.files(__package__).joinpath("spegel_metrics.sh").read_text(encoding="utf-8")
    return script.replace("@METRICS_PORT@", str(port))
