"""The Secrets that certificates are kept in, and what they hold."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any

from controller.certificates.model import Certificates
from controller.objects import names

Object = dict[str, Any]


def secrets(certificates: Certificates, namespace: str, url: str) -> list[Object]:
    """Return the three Secrets. The authority's outlives a move of the control plane to another seed.

    Args:
        certificates: their data.
        namespace: of the shoot's control plane.
        url: where nodes ask for other nodes.
    """
    return [
        _secret(names.AUTHORITY_SECRET, namespace, certificates.authority, {"persist": "true"}),
        _secret(names.SERVER_SECRET, namespace, certificates.server),
        _secret(names.CLIENT_SECRET, namespace, {**certificates.client, "url": url.encode()}),
    ]


def certificates(stored: Iterable[Mapping[str, Any]]) -> Certificates:
    """Return what Secrets hold; all others than the three are passed over."""
    found = {
        (secret.get("metadata") or {}).get("name"): _decode(secret.get("data") or {}) for secret in stored
    }
    client = dict(found.get(names.CLIENT_SECRET, {}))
    client.pop("url", None)
    return Certificates(found.get(names.AUTHORITY_SECRET, {}), found.get(names.SERVER_SECRET, {}), client)


def _secret(
    name: str, namespace: str, data: Mapping[str, bytes], labels: Mapping[str, str] | None = None
) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": {**names.LABELS, **(labels or {})}},
        "type": "Opaque",
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def _decode(data: Mapping[str, Any]) -> dict[str, bytes]:
    """Return data as bytes; what is not base64 is no data."""
    decoded = {}
    for key, value in data.items():
        try:
            decoded[key] = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError, TypeError):
            continue
    return decoded
