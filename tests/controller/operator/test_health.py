"""The conditions that the leader writes every half minute."""

from __future__ import annotations

import asyncio

from controller.operator.client import Client, Object
from controller.operator.resources import EXTENSION, MANAGED_RESOURCE
from tests.controller.controllers import LOG_IN, extensions, working
from tests.controller.seed import NAME, Seed

THEN = "2026-03-02T10:00:00Z"
GOOD = {"ResourcesApplied": "True", "ResourcesHealthy": "True", "ResourcesProgressing": "False"}


async def resource_manager(seed: Seed, **states: str) -> None:
    """Say of every ManagedResource how it is."""
    for name in await seed.names(MANAGED_RESOURCE):
        thing = await seed.client.get(MANAGED_RESOURCE, name, seed.namespace)
        said = {"reason": "R", "message": "m", "lastTransitionTime": THEN, "lastUpdateTime": THEN}
        conditions = [{"type": kind, "status": state} | said for kind, state in (GOOD | states).items()]
        status = {"observedGeneration": thing["metadata"]["generation"], "conditions": conditions}
        patch = {"status": status}
        await seed.client.patch(MANAGED_RESOURCE, name, seed.namespace, patch, subresource="status")


async def check(seed: Seed) -> dict[str, tuple[str, str]]:
    """Let a leader that has just begun look once."""
    client = Client(LOG_IN)
    leader = extensions(client)
    leader.see(None, await seed.extension())
    await leader.check_once()
    await client.close()
    conditions = (await seed.extension())["status"].get("conditions") or []
    return {each["type"]: (each["status"], each["message"]) for each in conditions}


async def created(seed: Seed) -> Object:
    await seed.create_extension()
    async with working(seed):
        return await seed.until_done("Create")


async def test_conditions_follow_the_managed_resources(seed: Seed) -> None:
    await created(seed)
    assert {status for status, _ in (await check(seed)).values()} == {"Progressing"}
    await resource_manager(seed)
    well = ("True", "All health checks successful")
    assert await check(seed) == dict.fromkeys(
        ("ControlPlaneHealthy", "SystemComponentsHealthy", "ObservabilityComponentsHealthy"), well
    )
    await resource_manager(seed, ResourcesHealthy="False")
    assert {status for status, _ in (await check(seed)).values()} == {"False"}


async def test_a_condition_that_stays_is_not_written_again(seed: Seed) -> None:
    await created(seed)
    await resource_manager(seed)
    await check(seed)
    before = await seed.extension()
    await check(seed)
    assert await seed.extension() == before


async def test_a_shoot_that_sleeps_is_well(seed: Seed) -> None:
    await created(seed)
    await resource_manager(seed, ResourcesApplied="Unknown")
    await seed.change_cluster({"spec": {"hibernation": {"enabled": True}}})
    assert set((await check(seed)).values()) == {("True", "Shoot is hibernated")}


async def test_conditions_start_no_work_and_leave_the_rest_of_the_status(seed: Seed) -> None:
    before = await created(seed)
    await resource_manager(seed)
    async with working(seed):
        await check(seed)
        await seed.reconcile_neighbour()
    after = (await seed.extension())["status"]
    assert {key: after[key] for key in before["status"]} == before["status"]


async def test_an_extension_that_went_unseen_does_not_stop_the_check_of_others(seed: Seed) -> None:
    gone = await created(seed)
    await resource_manager(seed)
    async with working(seed):
        await seed.reconcile_neighbour()
        await seed.delete_extension()
        await seed.until(EXTENSION, NAME, lambda extension: extension is None)
    client = Client(LOG_IN)
    leader = extensions(client)
    leader.see(None, gone)
    leader.see(None, await seed.client.get(EXTENSION, NAME, seed.neighbour))
    async with asyncio.timeout(10):
        await leader.check_once()
    await client.close()
    found = await seed.client.get(EXTENSION, NAME, seed.neighbour)
    assert len(found["status"]["conditions"]) == 3
