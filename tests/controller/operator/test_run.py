"""The whole program: kopf's watch, leader election, heartbeat, and what it asks of an API server."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from controller.operator import heartbeat
from controller.operator.resources import EXTENSION, LEASE
from controller.operator.run import LEADER_LEASE
from tests.controller.operator.processes import controller, until_leading
from tests.controller.seed import NAME, REAL, Seed, is_accepted

CLUSTER_WIDE = "v1alpha1/extensions"
"""The path that the controller watches, and the tests do not."""


async def test_from_the_first_extension_to_the_end(seed: Seed, tmp_path: Path) -> None:
    await seed.create_extension()
    async with controller(seed, tmp_path) as running:
        extension = await seed.until_done("Create")
        assert is_accepted(extension)
        assert extension["metadata"]["annotations"].keys() == {"gardener.cloud/timestamp"}
        assert extension["metadata"]["finalizers"] == ["extensions.gardener.cloud/registry-spegel"]
        assert extension["status"].keys() <= {"lastOperation", "observedGeneration", "conditions"}
        beat = await seed.until(LEASE, heartbeat.NAME, bool, seed.own_namespace)
        assert beat is not None
        assert beat["spec"]["holderIdentity"] == "gardener-extension-registry-spegel"
        assert beat["spec"]["leaseDurationSeconds"] == 30
        age = datetime.now(UTC) - datetime.fromisoformat(beat["spec"]["renewTime"])
        assert age.total_seconds() < 60
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{running.port}/healthz") as response,
        ):
            assert response.status == 200
        await seed.delete_extension()
        await seed.until(EXTENSION, NAME, lambda found: found is None)
    lease = await seed.client.get(LEASE, LEADER_LEASE, seed.own_namespace)
    assert lease["spec"]["holderIdentity"] == "", "the next one need not wait"


async def test_one_of_two_replicas_works_and_the_other_takes_over(seed: Seed, tmp_path: Path) -> None:
    async with controller(seed, tmp_path) as first:
        leader = await until_leading(seed)
        async with controller(seed, tmp_path) as second:
            await seed.create_extension()
            await seed.until_done("Create")
            assert not any("Create" in line["message"] for line in second.lines)
            await first.end()
            assert await until_leading(seed, leader) != leader
            await seed.ask("reconcile")
            assert is_accepted(await seed.until_done("Reconcile"))
            assert any("Reconcile" in line["message"] for line in second.lines)


async def test_a_killed_replica_is_followed_by_another_after_its_term(seed: Seed, tmp_path: Path) -> None:
    async with controller(seed, tmp_path) as first:
        leader = await until_leading(seed)
        await first.kill()
    await seed.create_extension()
    async with controller(seed, tmp_path):
        assert await until_leading(seed, leader) != leader
        assert is_accepted(await seed.until_done("Create"))


@pytest.mark.skipif(REAL is not None, reason="a real API server does not break when it is asked to")
async def test_a_watch_that_breaks_expires_and_begins_anew_misses_nothing(seed: Seed, tmp_path: Path) -> None:
    server = seed.server
    assert server is not None
    async with controller(seed, tmp_path) as running:
        await seed.create_extension()
        await seed.until_done("Create")
        for disturb in (server.break_watches, server.expire, server.bookmark):
            disturb()
            await seed.ask("reconcile")
            assert is_accepted(await seed.until_done("Reconcile"))
        # Gone while nobody watches.
        server.fail("watch", CLUSTER_WIDE, 500, times=2)
        server.break_watches()
        await seed.delete_extension()
        await seed.until(EXTENSION, NAME, lambda found: found is None)
        # A replay of what is done starts nothing.
        await seed.reconcile_neighbour()
        done = (await seed.client.get(EXTENSION, NAME, seed.neighbour))["status"]["lastOperation"]
        server.expire()
        await seed.create_extension()
        await seed.until_done("Create")
        again = (await seed.client.get(EXTENSION, NAME, seed.neighbour))["status"]["lastOperation"]
        assert again == done
        assert running.process.returncode is None


@pytest.mark.skipif(REAL is not None, reason="a real API server does not break when it is asked to")
@pytest.mark.parametrize("spoil", [410, 404, b"{}\n", b"no JSON\n"])
async def test_an_answer_that_kopf_cannot_take_is_survived(
    seed: Seed, tmp_path: Path, spoil: int | bytes
) -> None:
    server = seed.server
    assert server is not None
    async with controller(seed, tmp_path, is_silent=False) as running:
        await seed.create_extension()
        await seed.until_done("Create")
        if isinstance(spoil, int):
            server.fail("watch", CLUSTER_WIDE, spoil)
            server.break_watches()
        else:
            server.spoil_watches(spoil)
        await seed.ask("reconcile")
        assert is_accepted(await seed.until_done("Reconcile"))
        assert running.process.returncode is None


@pytest.mark.skipif(REAL is not None, reason="a real API server does not go away when it is asked to")
async def test_an_api_server_that_goes_away_comes_back(seed: Seed, tmp_path: Path) -> None:
    server = seed.server
    assert server is not None
    async with controller(seed, tmp_path) as running:
        await seed.create_extension()
        await seed.until_done("Create")
        server.stop()
        async with asyncio.timeout(60):
            while not any("could not be renewed" in line["message"] for line in running.lines):
                await asyncio.sleep(0.05)
        server.start()
        await seed.ask("reconcile")
        assert is_accepted(await seed.until_done("Reconcile"))
        assert running.process.returncode is None
