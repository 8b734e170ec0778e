"""Leader election by a Lease: of several replicas one works, and never two at once.

A leader that cannot renew stops well before the others may take over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from controller.lifecycle import lease
from controller.operator.client import ApiError, Client, ConflictError, Object
from controller.operator.resources import LEASE

_log = logging.getLogger(__name__)


class Elected:
    """A Lease and one replica that wants it."""

    def __init__(
        self, client: Client, namespace: str, name: str, identity: str, *, seconds: int = 15
    ) -> None:
        """Name the Lease, and how this replica calls itself.

        Args:
            client: for the API server that has the Lease.
            namespace: of the Lease.
            name: of the Lease.
            identity: of this replica, different from that of all others.
            seconds: after which another replica takes over from one that has vanished.
        """
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._seconds = seconds
        self._seen: tuple[object, float] = (None, 0.0)
        self.leads = False
        """Whether this replica leads."""

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Wait for the lead, do the leader's work while it lasts, and begin anew; until cancelled."""
        while True:
            while not await self._try():
                await asyncio.sleep(self._seconds / 7)
            _log.info("leading as %s", self._identity)
            self.leads = True
            try:
                await self._work_while_leading(lead)
            finally:
                self.leads = False
            _log.warning("leading no more")

    async def _work_while_leading(self, lead: Callable[[], Awaitable[None]]) -> None:
        work = asyncio.ensure_future(lead())
        renewal = asyncio.create_task(self._renew())
        try:
            await asyncio.wait([work, renewal], return_when=asyncio.FIRST_COMPLETED)
        finally:
            # All work has ended before anybody else is let in.
            work.cancel()
            await asyncio.wait([work])
            renewal.cancel()
            await asyncio.wait([renewal])
            await self._release()
        for task in (work, renewal):
            if not task.cancelled():
                task.result()

    async def _renew(self) -> None:
        """Stay the leader; returns when that has not been possible for two thirds of the term."""
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while loop.time() < renewed + self._seconds * 2 / 3:
            await asyncio.sleep(self._seconds / 7)
            try:
                async with asyncio.timeout_at(renewed + self._seconds * 2 / 3):
                    began = loop.time()
                    if await self._claim():
                        renewed = began
                    else:
                        return
            except (ApiError, TimeoutError) as error:
                _log.warning("the lead could not be renewed: %s", str(error) or "no answer in time")

    async def _try(self) -> bool:
        try:
            async with asyncio.timeout(self._seconds * 2 / 3):
                return await self._claim()
        except (ApiError, TimeoutError) as error:
            _log.warning("the lead could not be asked for: %s", str(error) or "no answer in time")
            return False

    async def _claim(self) -> bool:
        """Write this replica into the Lease if it may lead, and say whether it does."""
        found = await self._client.find(LEASE, self._name, self._namespace)
        spec = (found or {}).get("spec")
        time = asyncio.get_running_loop().time()
        if spec != self._seen[0]:
            self._seen = (spec, time)
        claim = lease.claim(
            spec,
            self._identity,
            unchanged_seconds=time - self._seen[1],
            seconds=self._seconds,
            now=datetime.now(UTC),
        )
        if claim is None:
            return False
        try:
            await self._write(found, claim)
        except ConflictError:
            return False  # another one was quicker
        return True

    async def _write(self, found: Object | None, spec: lease.Spec) -> None:
        if found is not None:
            await self._client.update(LEASE, {**found, "spec": spec})
            return
        metadata = {"name": self._name, "namespace": self._namespace}
        thing = {"apiVersion": lease.API_VERSION, "kind": "Lease", "metadata": metadata, "spec": spec}
        await self._client.create(LEASE, thing)

    async def _release(self) -> None:
        try:
            async with asyncio.timeout(self._seconds / 3):
                found = await self._client.get(LEASE, self._name, self._namespace)
                if found["spec"].get("holderIdentity") == self._identity:
                    await self._write(found, lease.release(found["spec"]))
        except (ApiError, TimeoutError) as error:
            _log.warning("the lead could not be given up: %s", str(error) or "no answer in time")
