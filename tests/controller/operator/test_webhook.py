"""The webhook's certificate and registration, against an API server and with real TLS libraries."""

from __future__ import annotations

from base64 import b64decode
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509 import verification

from controller.operator.client import ConflictError, Object
from controller.operator.resources import NAMESPACE, SECRET, WEBHOOK_CONFIGURATION
from controller.operator.webhook import AUTHORITY_SECRET, CERTIFICATE_SECRET, sync
from tests.controller.controllers import Killed, MortalClient
from tests.controller.seed import Seed

START = datetime.now(UTC)
SERVICE = "gardener-extension-registry-spegel"
ROTATED = START + timedelta(days=24)


class Webhook:
    """The objects of the seed's API server, seen as API servers and the webhook's replicas see them."""

    def __init__(self, seed: Seed) -> None:
        self.seed = seed
        service = {"name": SERVICE, "namespace": seed.own_namespace, "port": 443, "path": "/webhooks/x"}
        self.registration: Object = {
            "apiVersion": WEBHOOK_CONFIGURATION.api_version,
            "kind": WEBHOOK_CONFIGURATION.kind,
            "metadata": {"name": f"registry-spegel-test-{seed.own_namespace}", "labels": {"a": "b"}},
            "webhooks": [
                {
                    "name": "registry-spegel.extensions.gardener.cloud",
                    "admissionReviewVersions": ["v1"],
                    "clientConfig": {"service": service},
                    "sideEffects": "None",
                    # Nothing of a real cluster may be held up by a test. A rule there must be, since an empty
                    # list is not kept, and so would be written each time.
                    "rules": [
                        {
                            "operations": ["CREATE"],
                            "apiGroups": ["nothing.example.com"],
                            "apiVersions": ["*"],
                            "resources": ["*"],
                        }
                    ],
                    "failurePolicy": "Ignore",
                }
            ],
        }

    async def sync(self, now: datetime, client: MortalClient | None = None) -> None:
        await sync(client or self.seed.client, self.seed.own_namespace, self.registration, now)

    async def registered(self) -> Object:
        return await self.seed.client.get(WEBHOOK_CONFIGURATION, self.registration["metadata"]["name"])

    async def trusted(self) -> list[x509.Certificate]:
        (webhook,) = (await self.registered())["webhooks"]
        return x509.load_pem_x509_certificates(b64decode(webhook["clientConfig"]["caBundle"]))

    async def served(self) -> x509.Certificate:
        secret = await self.seed.client.get(SECRET, CERTIFICATE_SECRET, self.seed.own_namespace)
        assert secret["type"] == "kubernetes.io/tls"
        return x509.load_pem_x509_certificate(b64decode(secret["data"]["tls.crt"]))

    async def is_accepted(self, now: datetime, served: x509.Certificate | None = None) -> bool:
        """As an API server verifies it, with what it is told to trust."""
        verifier = (
            verification.PolicyBuilder()
            .store(verification.Store(await self.trusted()))
            .time(now)
            .build_server_verifier(x509.DNSName(f"{SERVICE}.{self.seed.own_namespace}.svc"))
        )
        try:
            verifier.verify(served or await self.served(), [])
        except verification.VerificationError:
            return False
        return True


@pytest.fixture
def webhook(seed: Seed) -> Webhook:
    return Webhook(seed)


async def test_at_first_everything_is_made_at_once(webhook: Webhook) -> None:
    await webhook.sync(START)
    assert await webhook.is_accepted(START)
    registered = await webhook.registered()
    (owner,) = registered["metadata"]["ownerReferences"]
    namespace = await webhook.seed.client.get(NAMESPACE, webhook.seed.own_namespace)
    assert (owner["kind"], owner["uid"]) == ("Namespace", namespace["metadata"]["uid"])
    assert registered["metadata"]["labels"] == {"a": "b"}


async def test_nothing_is_written_when_nothing_is_due(webhook: Webhook) -> None:
    await webhook.sync(START)
    before = [await webhook.registered(), await webhook.served(), await webhook.trusted()]
    await webhook.sync(START + timedelta(days=20))
    assert [await webhook.registered(), await webhook.served(), await webhook.trusted()] == before


async def test_a_rotation_leaves_no_gap(webhook: Webhook) -> None:
    await webhook.sync(START)
    old = await webhook.served()
    now, steps = ROTATED, []
    while now < ROTATED + timedelta(hours=25):
        await webhook.sync(now)
        served = await webhook.served()
        steps.append((len(await webhook.trusted()), served == old))
        assert await webhook.is_accepted(now)
        # Replicas read a new certificate within minutes; until then the old one is shown.
        if now < ROTATED + timedelta(hours=23):
            assert await webhook.is_accepted(now, old)
        now += timedelta(minutes=5) if now < ROTATED + timedelta(minutes=20) else timedelta(hours=2)
    assert list(dict.fromkeys(steps)) == [(2, True), (2, False), (1, False)]


@pytest.mark.parametrize("passes", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("begun", [False, True], ids=["first", "rotation"])
async def test_a_leader_that_dies_in_the_middle_leaves_no_gap(
    webhook: Webhook, begun: bool, at: int, passes: bool
) -> None:
    now = START
    if begun:
        await webhook.sync(START)
        now = ROTATED
    mortal = MortalClient(at, passes=passes)
    for _ in range(3):
        try:
            await webhook.sync(now, mortal)
        except Killed:
            break
        now += timedelta(minutes=5)
    else:
        pytest.fail(f"there was no write {at}: {mortal.writes}")
    await mortal.close()
    if begun:
        assert await webhook.is_accepted(now)
    for _ in range(4):
        await webhook.sync(now)
        assert await webhook.is_accepted(now)
        now += timedelta(minutes=5)
    assert len(await webhook.trusted()) == (2 if begun else 1)


async def test_a_lost_authority_is_replaced_while_its_certificate_is_still_trusted(webhook: Webhook) -> None:
    await webhook.sync(START)
    secret = await webhook.seed.client.get(SECRET, AUTHORITY_SECRET, webhook.seed.own_namespace)
    await webhook.seed.client.delete(SECRET, secret)
    old = await webhook.served()
    now = START + timedelta(days=1)
    for minutes in (0, 5, 10, 15):
        await webhook.sync(now + timedelta(minutes=minutes))
        assert await webhook.is_accepted(now)
        assert await webhook.is_accepted(now, old)
    assert await webhook.served() != old


@pytest.mark.parametrize("name", [AUTHORITY_SECRET, CERTIFICATE_SECRET])
async def test_what_cannot_be_read_is_replaced(webhook: Webhook, name: str) -> None:
    await webhook.sync(START)
    spoilt = {"data": dict.fromkeys(("tls.key", "ca.key", "tls.crt", "ca.crt"), "bm9uZQ==")}
    await webhook.seed.client.patch(SECRET, name, webhook.seed.own_namespace, spoilt)
    now = START + timedelta(hours=1)
    await webhook.sync(now)
    assert await webhook.is_accepted(now)


async def test_a_registration_that_somebody_took_away_or_changed_comes_back(webhook: Webhook) -> None:
    await webhook.sync(START)
    trusted = await webhook.trusted()
    name = webhook.registration["metadata"]["name"]
    (entry,) = (await webhook.registered())["webhooks"]
    spoilt = {"webhooks": [{**entry, "clientConfig": {**entry["clientConfig"], "caBundle": "bm9uZQ=="}}]}
    await webhook.seed.client.patch(WEBHOOK_CONFIGURATION, name, None, spoilt)
    await webhook.sync(START)
    assert await webhook.trusted() == trusted
    await webhook.seed.client.delete(WEBHOOK_CONFIGURATION, await webhook.registered())
    await webhook.sync(START)
    assert await webhook.trusted() == trusted


@pytest.mark.parametrize("name", [AUTHORITY_SECRET, CERTIFICATE_SECRET])
async def test_two_that_write_at_once_do_not_overwrite_each_other(
    webhook: Webhook, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await webhook.sync(START)
    find = webhook.seed.client.find

    async def find_and_be_overtaken(resource: object, found: str, namespace: str | None = None) -> Object:
        thing = await find(resource, found, namespace)  # type: ignore[arg-type]
        if found == name:
            patch = {"metadata": {"labels": {"another": f"v{thing['metadata']['resourceVersion']}"}}}
            await webhook.seed.client.patch(SECRET, name, webhook.seed.own_namespace, patch)
        return thing

    monkeypatch.setattr(webhook.seed.client, "find", find_and_be_overtaken)

    async def rotate() -> None:
        for minutes in (0, 5, 10, 15):
            await webhook.sync(ROTATED + timedelta(minutes=minutes))

    with pytest.raises(ConflictError):
        await rotate()
    monkeypatch.undo()
    secret = await webhook.seed.client.get(SECRET, name, webhook.seed.own_namespace)
    assert secret["metadata"]["labels"]["another"].startswith("v")
