"""When the certificates of all shoots end, also of those whose Extension is not reconciled any more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from controller.certificates.authority import Pair, UnusableError
from controller.certificates.model import Data
from controller.objects import certificate_secrets
from controller.operator import figures
from controller.operator.client import ApiError, Client
from controller.operator.inventory import Inventory

_FIRST_SECONDS = 60
_EACH_SECONDS = 600
_SOON = timedelta(days=30)  # an alert says the same
_KINDS = ("node", "bootstrapper", "authority")
_log = logging.getLogger(__name__)


async def watch(
    client: Client, namespaces: Callable[[], Collection[str]], clock: Callable[[], datetime]
) -> None:
    """Keep the figures up to date until cancelled; ``namespaces`` returns those of the shoots."""
    delay = _FIRST_SECONDS
    while True:
        await asyncio.sleep(delay)
        delay = _EACH_SECONDS
        try:
            await look(client, namespaces(), clock())
        except ApiError as error:
            _log.warning("when certificates end: %s", error)
        except Exception:  # noqa: BLE001 - a mistake of ours here must not stop the work on Extensions
            _log.exception("when certificates end")


async def look(client: Client, namespaces: Collection[str], now: datetime) -> None:
    """Say when the first certificate of each kind ends, and name the shoots where that is soon.

    Raises:
        ApiError: a Secret cannot be read.
    """
    ends: dict[str, datetime] = {}
    for namespace in namespaces:
        stored = certificate_secrets.certificates(await Inventory(client, namespace).certificate_secrets())
        for kind, data, name in (
            ("node", stored.client, "tls"),
            ("bootstrapper", stored.server, "tls"),
            ("authority", stored.authority, "ca"),
        ):
            end = _end(data, name)
            if end is None:
                continue  # not made yet, or not readable, and then the next reconciliation replaces it
            ends[kind] = min(end, ends.get(kind, end))
            if end - now < _SOON:
                _log.warning("%s: the certificate of the %s ends at %s", namespace, kind, end)
    for kind in _KINDS:
        figures.show_end(kind, ends.get(kind))


def _end(data: Data, name: str) -> datetime | None:
    try:
        return Pair.load(data[f"{name}.crt"], data[f"{name}.key"]).life.end
    except (KeyError, UnusableError):
        return None
