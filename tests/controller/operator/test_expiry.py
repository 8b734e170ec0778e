"""When the certificates of shoots end, as the figures and the log say it."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY

from controller.operator import figures
from controller.operator.expiry import look
from controller.operator.resources import SECRET
from tests.controller.controllers import working
from tests.controller.seed import Seed

DAY = timedelta(days=1)


def days_left(kind: str) -> int | None:
    name = "registry_spegel_controller_certificate_expiry_timestamp_seconds"
    end = REGISTRY.get_sample_value(name, {"certificate": kind})
    return None if end is None else round((end - datetime.now(UTC).timestamp()) / DAY.total_seconds())


async def test_the_one_that_ends_first_counts(seed: Seed, caplog: pytest.LogCaptureFixture) -> None:
    await seed.create_extension()
    async with working(seed):
        await seed.until_done("Create")
        await seed.reconcile_neighbour()
    now = datetime.now(UTC)
    with figures.leading():
        await look(seed.client, seed.namespaces, now)
        assert [days_left(kind) for kind in ("node", "bootstrapper", "authority")] == [365, 365, 3650]
        assert not caplog.records
        # Whoever does not know a shoot any more does not speak of it.
        await look(seed.client, [seed.own_namespace], now)
        assert [days_left(kind) for kind in ("node", "bootstrapper", "authority")] == [None] * 3
        await look(seed.client, seed.namespaces, now + 340 * DAY)
        warnings = {record.getMessage() for record in caplog.records if record.levelno == logging.WARNING}
        assert len(warnings) == 4
        assert any(
            message.startswith(f"{seed.namespace}: the certificate of the node") for message in warnings
        )
    assert days_left("node") is None


async def test_what_cannot_be_read_is_passed_over(seed: Seed) -> None:
    await seed.create_extension()
    async with working(seed):
        await seed.until_done("Create")
    spoilt = {"data": {"tls.crt": "bm9uZQ=="}}
    await seed.client.patch(SECRET, "registry-spegel-bootstrap", seed.namespace, spoilt)
    with figures.leading():
        await look(seed.client, [seed.namespace], datetime.now(UTC))
        assert [days_left(kind) for kind in ("node", "bootstrapper")] == [None, 365]
