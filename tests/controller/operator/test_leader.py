"""Leader election between replicas that share one API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from controller.operator.client import ApiError, Client, Object
from controller.operator.leader import Elected
from controller.operator.resources import LEASE
from tests.controller.controllers import LOG_IN
from tests.controller.seed import Seed

NAME = "leader"
SECONDS = 1
"""Of a term; renewals take a few milliseconds."""


class Cuttable(Client):
    """Stands for a replica that can lose the API server."""

    def __init__(self) -> None:
        super().__init__(LOG_IN)
        self.is_cut = False

    async def _request(self, *arguments: object, **named: object) -> Object:
        if self.is_cut:
            raise ApiError("cut off")
        return await super()._request(*arguments, **named)  # type: ignore[arg-type]


class Replica:
    """Notes when it leads."""

    leading: set[str] = set()  # noqa: RUF012 - shared, which is the point

    def __init__(self, seed: Seed, name: str) -> None:
        self.name = name
        self.client = Cuttable()
        self.elected = Elected(self.client, seed.own_namespace, NAME, name, seconds=SECONDS)
        self.leads, self.rests = asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(self.elected.run(self._lead))

    async def _lead(self) -> None:
        self.leading.add(self.name)
        assert len(self.leading) == 1, "two lead at once"
        self.leads.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.leading.discard(self.name)
            self.rests.set()

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])
        await self.client.close()


@pytest.fixture
async def replica(seed: Seed) -> AsyncIterator[Callable[[str], Replica]]:
    made: list[Replica] = []

    def make(name: str) -> Replica:
        made.append(Replica(seed, name))
        return made[-1]

    yield make
    for each in made:
        await each.end()
        assert each.task.cancelled(), each.task.exception()


async def soon(event: asyncio.Event) -> None:
    async with asyncio.timeout(20):
        await event.wait()


async def test_one_of_two_leads_and_gives_the_lead_up_when_it_ends(
    seed: Seed, replica: Callable[[str], Replica]
) -> None:
    first = replica("first")
    await soon(first.leads)
    second = replica("second")
    lease = await seed.client.get(LEASE, NAME, seed.own_namespace)
    assert lease["spec"]["holderIdentity"] == "first"
    # Renewed again and again, it stays.
    await seed.until(LEASE, NAME, lambda found: _differs(found, lease), seed.own_namespace)
    assert not second.leads.is_set()
    first.task.cancel()
    await soon(second.leads)
    lease = await seed.client.get(LEASE, NAME, seed.own_namespace)
    assert lease["spec"]["holderIdentity"] == "second"
    assert lease["spec"]["leaseTransitions"] >= 1


async def test_a_leader_that_is_cut_off_has_stopped_before_another_begins(
    replica: Callable[[str], Replica],
) -> None:
    first = replica("first")
    await soon(first.leads)
    second = replica("second")
    first.client.is_cut = True
    await soon(second.leads)
    assert first.rests.is_set()
    first.client.is_cut = False
    second.task.cancel()
    first.leads.clear()
    await soon(first.leads)


async def test_a_leader_survives_an_api_server_that_is_away_for_less_than_a_term(
    seed: Seed, replica: Callable[[str], Replica]
) -> None:
    first = replica("first")
    await soon(first.leads)
    lease = await seed.client.get(LEASE, NAME, seed.own_namespace)
    first.client.is_cut = True
    await asyncio.sleep(SECONDS / 5)  # long enough for a renewal to fail
    first.client.is_cut = False
    await seed.until(LEASE, NAME, lambda found: _differs(found, lease), seed.own_namespace)
    assert not first.rests.is_set()


async def test_an_error_of_the_leaders_work_ends_the_replica_and_frees_the_lead(seed: Seed) -> None:
    async def lead() -> None:
        raise RuntimeError("broken")

    client = Client(LOG_IN)
    with pytest.raises(RuntimeError, match="broken"):
        await Elected(client, seed.own_namespace, NAME, "first", seconds=SECONDS).run(lead)
    await client.close()
    lease = await seed.client.get(LEASE, NAME, seed.own_namespace)
    assert lease["spec"]["holderIdentity"] == ""


def _differs(found: Object | None, before: Object) -> bool:
    assert found is not None
    return bool(found["spec"]["renewTime"] != before["spec"]["renewTime"])
