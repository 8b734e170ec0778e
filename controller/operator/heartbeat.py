"""The Lease by which gardenlet knows that the conditions of the Extensions are being kept up to date."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

from controller.lifecycle import lease
from controller.operator.client import ApiError, Client
from controller.operator.resources import LEASE

NAME = "gardener-extension-heartbeat"
_RENEWED_EACH_SECONDS = 30
_log = logging.getLogger(__name__)


async def beat(client: Client, namespace: str, holder: str) -> None:
    """Renew the Lease until cancelled."""
    while True:
        thing = {
            "apiVersion": lease.API_VERSION,
            "kind": "Lease",
            "metadata": {"name": NAME, "namespace": namespace},
            "spec": lease.heartbeat(holder, _RENEWED_EACH_SECONDS, datetime.now(UTC)),
        }
        try:
            await client.apply(LEASE, thing)
        except ApiError as error:
            _log.warning("the heartbeat was not written: %s", error)
        await asyncio.sleep(_RENEWED_EACH_SECONDS)
