"""The whole program: kopf's watch, leader election, heartbeat, and what it asks of an API server."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from controller.operator import heartbeat
from controller.operator.resources import EXTENSION, LEASE
from controller.operator.run import LEADER_LEASE, told_late
from tests.controller.operator.processes import Controller, controller, until_leading
from tests.controller.seed import NAME, REAL, Seed, is_accepted

STATES = ("Error", "Misconfigured", "Processing", "Succeeded", "none")
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
        assert await answer(running, "/healthz") == "ok\n"
        await seed.delete_extension()
        await seed.until(EXTENSION, NAME, lambda found: found is None)
    lease = await seed.client.get(LEASE, LEADER_LEASE, seed.own_namespace)
    assert lease["spec"]["holderIdentity"] == "", "the next one need not wait"


@pytest.mark.parametrize(
    ("stopped", "error", "said"),
    [
        (True, aiohttp.ClientConnectionError("Connection closed"), logging.DEBUG),
        (False, aiohttp.ClientConnectionError("Connection closed"), logging.ERROR),
        (True, KeyError("a mistake"), logging.ERROR),
    ],
)
async def test_requests_that_are_left_behind_at_the_end_are_no_error(
    stopped: bool, error: Exception, said: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise error

    caplog.set_level(logging.DEBUG)
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.set_exception_handler(partial(told_late, stop))
    left_behind = asyncio.create_task(fail())
    await asyncio.wait([left_behind])
    if stopped:
        stop.set()
    del left_behind
    gc.collect()
    assert [record.levelno for record in caplog.records if record.levelno != logging.INFO] == [said]


async def answer(running: Controller, path: str) -> str:
    """What a process answers on its health port, once it listens there."""
    async with asyncio.timeout(30), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{running.port}{path}") as response:
                    assert response.status == 200
                    return await response.text()
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)


async def figures(running: Controller) -> dict[str, float]:
    """What Prometheus sees, by series as it is written."""
    lines = (await answer(running, "/metrics")).splitlines()
    found = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
    return {series.removeprefix("registry_spegel_controller_"): float(value) for series, _, value in found}


async def test_figures_say_what_is_done_and_by_whom(seed: Seed, tmp_path: Path) -> None:
    async with controller(seed, tmp_path) as leader:
        await until_leading(seed)
        async with controller(seed, tmp_path) as other:
            wrong = {"providerConfig": {"kind": "Nonsense"}}
            await seed.create_extension(spec=wrong, namespace=seed.neighbour)
            await seed.until(
                EXTENSION, NAME, lambda found: "lastError" in (found or {}).get("status", {}), seed.neighbour
            )
            await seed.create_extension()
            began = datetime.now(UTC).timestamp()
            await seed.until_done("Create")
            async with asyncio.timeout(30):
                seen = await figures(leader)
                while not seen['extensions{state="Succeeded"}']:  # the watch may be a little behind
                    seen = await figures(leader)
            waiting = await figures(other)
        assert (seen["leader"], waiting["leader"]) == (1, 0)
        assert seen['reconciliations_total{operation="Create",result="succeeded"}'] == 1
        assert seen['reconciliations_total{operation="Create",result="invalid"}'] == 1
        assert seen['reconciliations_total{operation="Delete",result="failed"}'] == 0
        assert seen['reconciliation_duration_seconds_count{operation="Create"}'] == 2
        assert began - 60 < seen['last_success_timestamp_seconds{operation="Create"}'] < began + 60
        assert [seen[f'queue_length{{state="{state}"}}'] for state in ("working", "waiting", "later")] == [
            0
        ] * 3
        if REAL is None:  # there, others may have Extensions
            counts = {state: seen[f'extensions{{state="{state}"}}'] for state in STATES}
            assert counts == {"Error": 0, "Misconfigured": 1, "Processing": 0, "Succeeded": 1, "none": 0}


async def test_a_port_that_is_taken_is_said_and_nothing_is_begun(seed: Seed, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "controller", "run", "--namespace", seed.own_namespace),
            *("--address", "127.0.0.1", "--health-port", str(port)),
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await process.communicate()
    assert process.returncode == 1
    assert said.decode() == f"error: cannot listen on 127.0.0.1, port {port}: Address already in use\n"
    assert await seed.client.find(LEASE, LEADER_LEASE, seed.own_namespace) is None


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


@pytest.mark.skipif(REAL is not None, reason="a real API server's resources are not all a test's own")
async def test_an_api_server_that_does_not_know_extensions_yet_is_waited_for(
    seed: Seed, tmp_path: Path
) -> None:
    server = seed.server
    assert server is not None
    await seed.create_extension()
    server.fail("GET", "extensions.gardener.cloud/v1alpha1", 404, times=2)
    async with controller(seed, tmp_path) as running:
        assert is_accepted(await seed.until_done("Create"))
    waits = [line for line in running.lines if "does not know Extensions yet" in line["message"]]
    assert len(waits) == 2


@pytest.mark.skipif(REAL is not None, reason="a real API server's resources are not all a test's own")
async def test_while_it_waits_it_can_be_told_to_stop(seed: Seed, tmp_path: Path) -> None:
    server = seed.server
    assert server is not None
    server.fail("GET", "extensions.gardener.cloud/v1alpha1", 404, times=1000)
    async with controller(seed, tmp_path) as running, asyncio.timeout(30):
        while not any("does not know Extensions yet" in line["message"] for line in running.lines):
            await asyncio.sleep(0.05)


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
