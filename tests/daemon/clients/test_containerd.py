"""containerd pulls by way of its own node's daemon what the daemon of another node has."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.cli.program import free_port
from tests.daemon.clients.gate import Gate
from tests.daemon.clients.log import requests
from tests.daemon.clients.programs import REPOSITORY, Upstream, flags_of, mirror_through, tag
from tests.daemon.composed import LIMIT, Network, running
from tests.daemon.images import TestImage
from tests.daemon.layouts import lay_out
from tests.integration.containerd.containerd import Containerd

pytestmark = pytest.mark.root

Pull = Callable[[Containerd, str], None]
MIB = 2**20


@pytest.fixture(params=["ctr", "cri"])
def pull(request: pytest.FixtureRequest) -> Pull:
    return Containerd.pull_with_cri if request.param == "cri" else Containerd.pull_with_ctr


@contextlib.asynccontextmanager
async def gate(target: str, limit: int) -> AsyncIterator[tuple[Gate, str]]:
    passage, address = Gate(target, limit), f"127.0.0.4:{free_port()}"
    await passage.listen(address)
    try:
        yield passage, address
    finally:
        await passage.close()


def assert_has(machine: Containerd, image: TestImage) -> None:
    """Compare every blob of containerd's, byte for byte."""
    blobs = machine.directory / "root" / "io.containerd.content.v1.content" / "blobs"
    for digest, data in image.blobs.items():
        assert (blobs / digest.replace(":", "/")).read_bytes() == data


def sequence(image: TestImage) -> list[tuple[str, str, int]]:
    """What containerd asks for, one after another; then come the blobs in any order."""
    path = f"/v2/{REPOSITORY}/manifests"
    return [
        ("HEAD", f"{path}/{tag(image)}", 200),
        ("GET", f"{path}/{image.index}", 200),
        ("GET", f"{path}/{image.manifest}", 200),
    ]


def blobs(digests: Iterable[str]) -> set[tuple[str, str, int]]:
    return {("GET", f"/v2/{REPOSITORY}/blobs/{digest}", 200) for digest in digests}


async def test_an_image_comes_from_another_node_as_it_is(
    *,
    second_machine: Containerd,
    registry: Upstream,
    image: TestImage,
    holder: dict[str, Any],
    pull: Pull,
    caplog: pytest.LogCaptureFixture,
) -> None:
    network = Network()
    near, far = f"127.0.0.2:{free_port()}", f"127.0.0.3:{free_port()}"
    # The registry itself is out of reach: what arrives can have come from the other node only.
    mirror_through(second_machine, registry, near, server=f"127.0.0.1:{free_port()}")
    async with running(network, far, **holder), running(network, near, **flags_of(second_machine)):
        await network.advertised(far, [registry.name(image), *image.blobs])
        await asyncio.to_thread(pull, second_machine, registry.name(image))
        assert_has(second_machine, image)
    for source in ("peer", "local"):
        seen = requests(caplog, source)
        assert seen[:3] == sequence(image), source
        assert len(seen) == 3 + 5, source
        assert set(seen[3:]) == blobs([image.config, *image.layers]), source
    namespaces = {record.registry for record in caplog.records if hasattr(record, "source")}
    assert namespaces == {registry.address}


class Interrupted:
    """A pull by the second machine that is held in the middle of the large layer."""

    def __init__(self, machine: Containerd, registry: Upstream, image: TestImage) -> None:
        self.image = image
        self._machine = machine
        self._name = registry.name(image)
        self._registry = registry

    @contextlib.asynccontextmanager
    async def held_at(self, gate: Gate) -> AsyncIterator[None]:
        """Start the pull; inside, something happens; afterwards it goes on to its end."""
        async with asyncio.TaskGroup() as group:
            pull = group.create_task(asyncio.to_thread(self._machine.pull_with_cri, self._name))
            try:
                async with asyncio.timeout(LIMIT):
                    await gate.reached.wait()
                yield
            finally:
                gate.open()
            await pull
        assert_has(self._machine, self.image)

    @property
    def path(self) -> str:
        """Of the large layer."""
        return f"/v2/{REPOSITORY}/blobs/{self.image.layers[-1]}"

    def answered_upstream(self) -> list[int]:
        """Return with what status the registry itself answered questions for the large layer."""
        return [status for _, path, status in self._registry.asked() if path.startswith(self.path)]


ONE_STORE = pytest.mark.parametrize("holder", ["containerd"], indirect=True)


@pytest.fixture
def interrupted(second_machine: Containerd, registry: Upstream, image: TestImage) -> Interrupted:
    return Interrupted(second_machine, registry, image)


@ONE_STORE
async def test_when_a_node_dies_midway_another_one_goes_on(
    *,
    second_machine: Containerd,
    registry: Upstream,
    holder: dict[str, Any],
    interrupted: Interrupted,
    caplog: pytest.LogCaptureFixture,
) -> None:
    network = Network()
    near, far, other = (f"127.0.0.{number}:{free_port()}" for number in (2, 3, 5))
    mirror_through(second_machine, registry, near, server=f"127.0.0.1:{free_port()}")
    async with (
        gate(far, 8 * MIB) as (passage, seen_at),
        running(network, near, **flags_of(second_machine)),
        running(network, far, seen_at=seen_at, **holder) as dying,
    ):
        await network.advertised(far, [registry.name(interrupted.image), *interrupted.image.blobs])
        async with running(network, other, **holder):
            await network.advertised(other, interrupted.image.blobs)
            async with interrupted.held_at(passage):
                await dying.aclose()
    assert f"{interrupted.image.layers[-1]} continues from peer {other} at byte" in caplog.text
    assert ("GET", interrupted.path, 200) in requests(caplog, "peer")


@ONE_STORE
async def test_when_no_node_is_left_containerd_takes_the_rest_from_the_registry(
    second_machine: Containerd,
    registry: Upstream,
    holder: dict[str, Any],
    interrupted: Interrupted,
    caplog: pytest.LogCaptureFixture,
) -> None:
    network = Network()
    near, far = (f"127.0.0.{number}:{free_port()}" for number in (2, 3))
    mirror_through(second_machine, registry, near)
    asked_before = len(interrupted.answered_upstream())
    async with (
        gate(far, 8 * MIB) as (passage, seen_at),
        running(network, near, **flags_of(second_machine)),
        running(network, far, seen_at=seen_at, **holder) as dying,
    ):
        await network.advertised(far, [registry.name(interrupted.image), *interrupted.image.blobs])
        async with interrupted.held_at(passage):
            await dying.aclose()
    answers = [
        (record.message, record.status)  # type: ignore[attr-defined]
        for record in caplog.records
        if getattr(record, "path", "") == interrupted.path and record.source != "local"  # type: ignore[attr-defined]
    ]
    assert answers == [("request cut", 200), ("request answered", 404)]
    assert interrupted.answered_upstream()[asked_before:] == [206]


@ONE_STORE
async def test_when_its_own_daemon_dies_midway_containerd_takes_the_rest_from_the_registry(
    second_machine: Containerd, registry: Upstream, holder: dict[str, Any], interrupted: Interrupted
) -> None:
    network = Network()
    near, far = (f"127.0.0.{number}:{free_port()}" for number in (2, 3))
    asked_before = len(interrupted.answered_upstream())
    async with gate(near, 8 * MIB) as (passage, seen_at), running(network, far, **holder):
        mirror_through(second_machine, registry, seen_at)
        await network.advertised(far, [registry.name(interrupted.image), *interrupted.image.blobs])
        async with (
            running(network, near, **flags_of(second_machine)) as dying,
            interrupted.held_at(passage),
        ):
            passage.refuse()
            await dying.aclose()
    assert interrupted.answered_upstream()[asked_before:] == [206]


async def test_what_no_node_has_comes_from_the_registry(
    second_machine: Containerd, registry: Upstream, image: TestImage, pull: Pull, tmp_path: Path
) -> None:
    network = Network()
    near, far = (f"127.0.0.{number}:{free_port()}" for number in (2, 3))
    mirror_through(second_machine, registry, near)
    lay_out(tmp_path / "empty", {})
    async with (
        running(network, near, **flags_of(second_machine)),
        running(network, far, oci_layout=str(tmp_path / "empty")),
    ):
        await asyncio.to_thread(pull, second_machine, registry.name(image))
        assert_has(second_machine, image)
