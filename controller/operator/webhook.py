"""Keeps the webhook's certificate, and its registration with the API servers of the seed.

The registration is the leader's to write, not the chart's: gardener-resource-manager returns what a chart
holds to what the chart says, and would take the authorities out again each time.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509

from controller.certificates.authority import SERVER, Pair, UnusableError, new_authority, new_certificate, pem
from controller.certificates.rotation import Life
from controller.lifecycle.webhook_certificate import (
    AUTHORITY_LIFE,
    Served,
    needs_authority,
    needs_certificate,
    trusted,
)
from controller.operator import figures
from controller.operator.client import ApiError, Client, Object
from controller.operator.resources import NAMESPACE, SECRET, WEBHOOK_CONFIGURATION

AUTHORITY_SECRET = "gardener-extension-registry-spegel-webhook-ca"  # noqa: S105 - a name
CERTIFICATE_SECRET = "gardener-extension-registry-spegel-webhook-tls"  # noqa: S105 - a name
_ORGANIZATION = "gardener-extension-registry-spegel"
_SYNC_SECONDS = 300
_RETRY_SECONDS = 5
_log = logging.getLogger(__name__)

Data = Mapping[str, bytes]


async def keep(client: Client, namespace: str, registration: Object, clock: Callable[[], datetime]) -> None:
    """Keep certificate and registration until cancelled."""
    while True:
        delay = _SYNC_SECONDS
        try:
            await sync(client, namespace, registration, clock())
        except ApiError as error:
            _log.warning("the webhook's certificate: %s", error)
            delay = _RETRY_SECONDS
        except Exception:  # noqa: BLE001 - a mistake of ours here must not stop the work on Extensions
            _log.exception("the webhook's certificate")
            delay = _RETRY_SECONDS
        await asyncio.sleep(delay)


async def sync(client: Client, namespace: str, registration: Object, now: datetime) -> None:
    """Do what is due now, in the order that leaves no gap: authority, registration, certificate.

    Args:
        client: for the seed.
        namespace: of the extension.
        registration: the MutatingWebhookConfiguration without caBundle.
        now: the time.

    Raises:
        ConflictError: somebody has written in between; the next call sees it.
        ApiError: something cannot be read or written.
    """
    authority_secret = await client.find(SECRET, AUTHORITY_SECRET, namespace)
    certificate_secret = await client.find(SECRET, CERTIFICATE_SECRET, namespace)
    registered = await client.find(WEBHOOK_CONFIGURATION, registration["metadata"]["name"])
    hosts = _hosts(registration)
    stored, announced = _data(authority_secret), _announced(registered)
    serving = _Serving.load(_data(certificate_secret), hosts)

    authority = _pair(stored, "ca.crt", "ca.key")
    known = [*_certificates(stored.get("bundle.crt", b"")), *announced]
    if authority is None or needs_authority(authority.life, now):
        if authority is not None:
            known.insert(0, authority.certificate)
        authority = new_authority(_ORGANIZATION, now, AUTHORITY_LIFE)
    bundle = _bundle(authority, known, serving, now)
    wanted = {"ca.crt": authority.certificate_pem, "ca.key": authority.key_pem, "bundle.crt": bundle}
    if wanted != stored:
        await _write(client, authority_secret, _secret(namespace, AUTHORITY_SECRET, "Opaque", wanted))
    await _register(client, namespace, registration, registered, bundle)

    figures.show_end("webhook_authority", authority.life.end)
    served = serving.seen_by(authority) if serving else None
    figures.show_end("webhook", served.life.end if served else None)
    if needs_certificate(authority.life, served, now, announced=authority.certificate in announced):
        # A common name has at most 64 characters; nobody looks at it where there are hosts.
        made = new_certificate(authority, hosts[0], SERVER, hosts, now)
        data = {"tls.crt": made.certificate_pem, "tls.key": made.key_pem}
        secret = _secret(namespace, CERTIFICATE_SECRET, "kubernetes.io/tls", data)
        await _write(client, certificate_secret, secret)
        figures.show_end("webhook", made.life.end)
        _log.info("the webhook has a new certificate, until %s", made.life.end)


@dataclass(frozen=True, slots=True)
class _Serving:
    """What is in the Secret that the webhook serves with."""

    pair: Pair
    fits: bool

    @classmethod
    def load(cls, data: Data, hosts: Iterable[str]) -> _Serving | None:
        pair = _pair(data, "tls.crt", "tls.key")
        return None if pair is None else cls(pair, pair.names() >= set(hosts))

    def seen_by(self, authority: Pair) -> Served:
        return Served(self.pair.life, authority.signed(self.pair.certificate), self.fits)


def _bundle(
    authority: Pair, known: Iterable[x509.Certificate], serving: _Serving | None, now: datetime
) -> bytes:
    former = [each for each in dict.fromkeys(known) if each != authority.certificate]
    lives = [Life(each.not_valid_before_utc, each.not_valid_after_utc) for each in former]
    served = serving.seen_by(authority) if serving else None
    kept = trusted(authority.life, lives, served, now)
    return authority.certificate_pem + b"".join(
        pem(each) for each, is_kept in zip(former, kept, strict=True) if is_kept
    )


async def _register(
    client: Client, namespace: str, registration: Object, registered: Object | None, bundle: bytes
) -> None:
    owner = await client.get(NAMESPACE, namespace)
    # The registration goes with the extension's namespace, and must go: a registered webhook that no one
    # serves keeps all shoots from being reconciled.
    reference = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "name": namespace,
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": False,
    }
    metadata = {**registration["metadata"], "ownerReferences": [reference]}
    if registered is not None:
        metadata["resourceVersion"] = registered["metadata"]["resourceVersion"]
    text = b64encode(bundle).decode()
    webhooks = [
        {**webhook, "clientConfig": {**webhook["clientConfig"], "caBundle": text}}
        for webhook in registration["webhooks"]
    ]
    await client.apply(WEBHOOK_CONFIGURATION, {**registration, "metadata": metadata, "webhooks": webhooks})


async def _write(client: Client, present: Object | None, secret: Object) -> None:
    """Create or replace a Secret, unless somebody else has done so since it was read."""
    if present is None:
        await client.create(SECRET, secret)
        return
    if present.get("type") != secret["type"]:
        await client.delete(SECRET, present)  # the type cannot be changed
        await client.create(SECRET, secret)
        return
    version = present["metadata"]["resourceVersion"]
    await client.update(SECRET, {**secret, "metadata": {**secret["metadata"], "resourceVersion": version}})


def _secret(namespace: str, name: str, kind: str, data: Data) -> Object:
    labels = {"app.kubernetes.io/name": _ORGANIZATION}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "type": kind,
        "data": {key: b64encode(value).decode() for key, value in data.items()},
    }


def _hosts(registration: Object) -> list[str]:
    """Return the names by which API servers call the webhook's Service."""
    service: dict[str, Any] = registration["webhooks"][0]["clientConfig"]["service"]
    name = f"{service['name']}.{service['namespace']}"
    return [service["name"], name, f"{name}.svc"]


def _announced(registered: Object | None) -> list[x509.Certificate]:
    webhooks = (registered or {}).get("webhooks") or [{}]
    return _certificates(_decoded((webhooks[0].get("clientConfig") or {}).get("caBundle")))


def _certificates(text: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(text)
    except ValueError:
        return []


def _pair(data: Data, certificate: str, key: str) -> Pair | None:
    try:
        return Pair.load(data[certificate], data[key])
    except (KeyError, UnusableError):
        return None


def _data(secret: Object | None) -> Data:
    return {key: _decoded(value) for key, value in ((secret or {}).get("data") or {}).items()}


def _decoded(text: object) -> bytes:
    try:
        return b64decode(str(text or ""), validate=True)
    except ValueError:
        return b""
