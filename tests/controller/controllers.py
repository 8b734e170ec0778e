"""A controller in this process: without leader election, and with a simple watch in place of kopf's."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import kopf

from controller.operator.build import builder
from controller.operator.client import ApiError, Client, Object
from controller.operator.extensions import Extensions
from controller.operator.login import log_in
from controller.operator.reconciler import Reconciler
from controller.operator.resources import EXTENSION
from controller.settings import ObjectSettings
from tests.controller.seed import Seed

LOG_IN = partial(log_in, kopf.OperatorSettings())


class Killed(BaseException):
    """The process is no more. No handler of errors may see it."""


class MortalClient(Client):
    """Counts writes, and at one of them fails or dies, before or after it has come to pass."""

    def __init__(
        self, at: int | None = None, *, passes: bool = False, error: BaseException | None = None
    ) -> None:
        super().__init__(LOG_IN)
        self.writes: list[str] = []
        self._at = at
        self._passes = passes
        self._error = error or Killed()

    async def _request(self, method: str, path: str, *arguments: Any, **named: Any) -> Object:
        if method == "GET":
            return await super()._request(method, path, *arguments, **named)
        self.writes.append(f"{method} {path}")
        if len(self.writes) != self._at:
            return await super()._request(method, path, *arguments, **named)
        if self._passes:
            await super()._request(method, path, *arguments, **named)
        raise self._error


def extensions(client: Client) -> Extensions:
    """Everything that the leader has for Extensions."""
    clock = partial(datetime.now, UTC)
    reconciler = Reconciler(client, builder(ObjectSettings().options), clock)
    return Extensions(client, reconciler, clock)


@contextlib.asynccontextmanager
async def working(seed: Seed, client: Client | None = None) -> AsyncIterator[Extensions]:
    """A leader at work; an error of it is one of the test."""
    client = client or Client(LOG_IN)
    leader = extensions(client)
    try:
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(_watch(seed, leader))
            work = tasks.create_task(leader.work(2))
            yield leader
            watching.cancel()
            work.cancel()
    finally:
        await client.close()


async def life(seed: Seed, client: Client, until: Callable[[], Any]) -> None:
    """Let a leader work until something is as wanted, or it dies."""
    try:
        async with working(seed, client):
            await until()
    except BaseExceptionGroup as group:
        _, others = group.split(Killed)
        if others is not None:
            raise


async def _watch(seed: Seed, leader: Extensions) -> None:
    listed = await seed.client._request("GET", EXTENSION.path())
    for thing in listed["items"]:
        leader.see(None, thing)
    session, server = await seed.client._enter()
    query = {
        "watch": "true",
        "resourceVersion": listed["metadata"]["resourceVersion"],
        "timeoutSeconds": "300",
    }
    async with session.get(server + EXTENSION.path(), params=query) as response:
        async for line in response.content:
            if line.strip():
                event = json.loads(line)
                leader.see(event["type"], event["object"])
    raise ApiError("the watch has ended")
