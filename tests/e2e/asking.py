"""Asking the bootstrapper as a node does, with certificates that may be another node's or older ones."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.e2e.landscape import Landscape
from tests.e2e.node.machine import Node

CERTIFICATES = "/etc/spegel/bootstrap"
"""Where nodes have them."""


def ask(node: Node, landscape: Landscape, directory: Path, *, shows_certificate: bool = True) -> Any:
    """Ask for the nodes from a node, with the files of a directory; return the answer's JSON.

    Raises:
        ssl.SSLError, ConnectionError, http.client.HTTPException: client and server do not get on.
    """
    url = urlsplit(landscape.gardenlet.bootstrap_secret()["url"].decode())
    host = url.hostname or ""
    trust = ssl.create_default_context(cafile=directory / "ca.crt")
    if shows_certificate:
        trust.load_cert_chain(directory / "tls.crt", directory / "tls.key")

    def get() -> Any:
        connection = http.client.HTTPConnection(host)
        with contextlib.closing(connection):
            plain = socket.create_connection((landscape.names[host], 443), 10)
            connection.sock = trust.wrap_socket(plain, server_hostname=host)
            connection.request("GET", url.path)
            return json.loads(connection.getresponse().read())

    return node.machine.call(get)


def addresses(node: Node, landscape: Landscape, directory: Path) -> list[str]:
    """Ask, and return the nodes' addresses."""
    return [entry["IP"] for entry in ask(node, landscape, directory)]
