"""What runs on a seed for one shoot: an API server in small, the webhook and the bootstrapper.

Certificates and Secrets are made by the controller's own code, as it makes them for an Extension.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from controller.certificates.keeping import renew
from controller.certificates.model import EMPTY, Data
from controller.certificates.rotation import Rotation
from controller.objects import certificate_secrets, names
from demo import certificates
from demo.apiserver import ApiServer, path_of
from demo.processes import Process, Processes
from webhook.context.landscape import EXTENSION

_EXTENSIONS = "extensions.gardener.cloud/v1alpha1"
_LISTENING = re.compile(r"Listening at: https://127\.0\.0\.1:(\d+)(?: (http://[\d.:]+))?")


@dataclass(frozen=True, slots=True)
class Seed:
    """What others need to know of it."""

    api_server: str
    """Its URL."""
    webhook_port: int
    webhook_authority: Path
    bootstrap_url: str
    secret: Data
    """Of the Secret whose keys the nodes get as files."""


@asynccontextmanager
async def seed(
    processes: Processes,
    session: aiohttp.ClientSession,
    directory: Path,
    namespace: str,
    *,
    provider_config: Mapping[str, Any] | None,
    nodes: Sequence[tuple[str, str]],
) -> AsyncIterator[Seed]:
    """Run a seed while entered; given once all of it is ready.

    Args:
        processes: what runs the webhook and the bootstrapper.
        session: to ask whether they are ready.
        directory: for files; private, since there are keys among them.
        namespace: of the shoot.
        provider_config: of the Extension; None for all defaults.
        nodes: names and addresses of those that the bootstrapper tells about.
    """
    of_webhook = directory / "webhook"
    of_webhook.mkdir()
    serving = certificates.make(of_webhook)
    kept = renew(EMPTY, organization=namespace, host="localhost", rotation=Rotation(), now=datetime.now(UTC))
    with ApiServer(*_shoot(namespace, provider_config)) as api_server:
        webhook, bootstrapper = await asyncio.gather(
            processes.start(
                "the webhook", _webhook(serving, api_server.write_kubeconfig(directory / "kubeconfig"))
            ),
            processes.start(
                "the bootstrapper", _bootstrapper(directory / "bootstrapper", kept.server, nodes)
            ),
        )
        trust = ssl.create_default_context(cafile=serving.authority)
        webhook_port, bootstrap_port = await asyncio.gather(
            _ready(webhook, session, trust), _ready(bootstrapper, session, None)
        )
        url = f"https://localhost:{bootstrap_port}{names.BOOTSTRAP_PATH}"
        secrets = certificate_secrets.secrets(kept, namespace, url)
        api_server.objects |= {path_of(secret): secret for secret in secrets}
        yield Seed(api_server.url, webhook_port, serving.authority, url, kept.client)


def _webhook(serving: certificates.Certificates, kubeconfig: Path) -> list[str]:
    command = [sys.executable, "-m", "webhook", "serve", "--address=127.0.0.1", "--port=0"]
    command += [f"--tls-certificate={serving.certificate}", f"--tls-key={serving.key}"]
    return [*command, f"--kubeconfig={kubeconfig}"]


def _bootstrapper(directory: Path, certificate: Data, nodes: Sequence[tuple[str, str]]) -> list[str]:
    directory.mkdir()
    for name, data in certificate.items():
        (directory / name).write_bytes(data)
    file = directory / "nodes.json"
    file.write_text(json.dumps({"kind": "NodeList", "items": [_node(*node) for node in nodes]}))
    command = [sys.executable, "-m", "bootstrapper", "serve", "--address=127.0.0.1", "--port=0"]
    command += ["--probe-port=0", f"--nodes-file={file}", f"--client-authorities={directory / 'ca.crt'}"]
    return [*command, f"--tls-certificate={directory / 'tls.crt'}", f"--tls-key={directory / 'tls.key'}"]


async def _ready(process: Process, session: aiohttp.ClientSession, trust: ssl.SSLContext | None) -> int:
    """Wait until a server of ours says that it is ready, and return its port."""

    async def look() -> int | None:
        listening = _LISTENING.search(process.log.read_text())
        if listening is None:
            return None
        port, probe = listening.groups()
        try:
            async with session.get(
                f"{probe or f'https://127.0.0.1:{port}'}/readyz", ssl=trust or True
            ) as response:
                return int(port) if response.status == 200 else None
        except aiohttp.ClientError:
            return None

    return await process.until(look)


def _node(name: str, address: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def _shoot(namespace: str, provider_config: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return what the webhook reads of a shoot, but for the Secret."""
    spec = {"type": EXTENSION} | ({"providerConfig": provider_config} if provider_config else {})
    shoot = {"metadata": {"name": "demo"}, "spec": {"networking": {"type": "calico"}}}
    return [
        {
            "apiVersion": _EXTENSIONS,
            "kind": "Extension",
            "metadata": {"name": EXTENSION, "namespace": namespace},
            "spec": spec,
        },
        {
            "apiVersion": _EXTENSIONS,
            "kind": "Cluster",
            "metadata": {"name": namespace},
            "spec": {"shoot": shoot},
        },
    ]
