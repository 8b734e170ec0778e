"""Whatever goes wrong, and whenever: what comes of it is what comes of it when nothing goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from controller.operator.client import ApiError, Object
from controller.operator.resources import EXTENSION
from tests.controller.controllers import Killed, MortalClient, life
from tests.controller.seed import NAME, Seed, open_seed

Story = Callable[[Seed, "Lives"], Awaitable[None]]


class Lives:
    """Leaders that follow each other: the first has a fault, what comes after has none."""

    def __init__(self, at: int | None, *, passes: bool, error: BaseException) -> None:
        self._next: MortalClient | None = MortalClient(at, passes=passes, error=error)
        self.first = self._next

    async def work(self, seed: Seed, until: Callable[[], Awaitable[object]]) -> None:
        """Work until something is so, and begin again after each death."""
        reached = False

        async def reach() -> None:
            nonlocal reached
            await until()
            reached = True

        while not reached:
            client, self._next = self._next or MortalClient(), None
            await life(seed, client, reach)


async def create(seed: Seed, lives: Lives) -> None:
    await seed.create_extension()
    await lives.work(seed, lambda: seed.until_done("Create"))


async def _prepared(seed: Seed) -> None:
    await create(seed, Lives(None, passes=False, error=Killed()))


async def reconcile(seed: Seed, lives: Lives) -> None:
    await _prepared(seed)
    await seed.change_cluster({"spec": {"purpose": "testing", "hibernation": {"enabled": True}}})
    await seed.ask("reconcile")
    await lives.work(seed, lambda: seed.until_done("Reconcile"))


async def delete(seed: Seed, lives: Lives) -> None:
    await _prepared(seed)
    await seed.delete_extension()
    await lives.work(seed, lambda: seed.until(EXTENSION, NAME, lambda extension: extension is None))


async def delete_half_created(seed: Seed, lives: Lives) -> None:
    await seed.create_extension()
    await life(seed, MortalClient(9), asyncio.Event().wait)
    await seed.delete_extension()
    await lives.work(seed, lambda: seed.until(EXTENSION, NAME, lambda extension: extension is None))


async def migrate(seed: Seed, lives: Lives) -> None:
    await _prepared(seed)
    await seed.ask("migrate")
    await lives.work(seed, lambda: seed.until_done("Migrate"))


async def restore(seed: Seed, lives: Lives) -> None:
    await seed.create_extension("restore")
    await lives.work(seed, lambda: seed.until_done("Restore"))


STORIES: dict[str, tuple[Story, int]] = {
    # With the number of writes, so that each of them can fail.
    "create": (create, 14),
    "reconcile": (reconcile, 13),
    "delete": (delete, 13),
    "delete_half_created": (delete_half_created, 8),
    "migrate": (migrate, 14),
    "restore": (restore, 14),
}
WRITES = [(name, at) for name, (_, writes) in STORIES.items() for at in range(1, writes + 1)]


@pytest.fixture(scope="module")
def endings() -> dict[str, Object]:
    """What each story comes to when nothing goes wrong; filled by the first that asks."""
    return {}


async def _ending(name: str, endings: dict[str, Object], directory: Path) -> Object:
    if name not in endings:
        story, writes = STORIES[name]
        async with open_seed(directory) as seed:
            lives = Lives(None, passes=False, error=Killed())
            await story(seed, lives)
            assert len(lives.first.writes) == writes, lives.first.writes
            endings[name] = await seed.snapshot()
    return endings[name]


# That a write has come to pass before the end is the case of the next write that has not.
@pytest.mark.parametrize(("name", "at"), WRITES)
async def test_a_leader_that_dies_before_a_write_is_followed_by_one_that_finishes(
    seed: Seed, tmp_path: Path, endings: dict[str, Object], name: str, at: int
) -> None:
    (tmp_path / "other").mkdir()
    expected = await _ending(name, endings, tmp_path / "other")
    await STORIES[name][0](seed, Lives(at, passes=False, error=Killed()))
    assert await seed.snapshot() == expected


@pytest.mark.parametrize(("name", "at"), WRITES)
async def test_a_write_whose_answer_is_lost_is_made_up_for(
    seed: Seed, tmp_path: Path, endings: dict[str, Object], name: str, at: int
) -> None:
    (tmp_path / "other").mkdir()
    expected = await _ending(name, endings, tmp_path / "other")
    lives = Lives(at, passes=True, error=ApiError("PATCH: no answer in time"))
    await STORIES[name][0](seed, lives)
    assert len(lives.first.writes) >= at
    assert await seed.snapshot() == expected


@pytest.mark.parametrize(
    "request_",
    ["get clusters", "get secrets", "patch extensions", "patch secrets", "patch managedresources"],
)
@pytest.mark.parametrize("status", [0, 409, 500])
async def test_an_api_server_that_refuses_for_a_while_delays_and_spoils_nothing(
    seed: Seed, tmp_path: Path, endings: dict[str, Object], request_: str, status: int
) -> None:
    if seed.server is None:
        pytest.skip("a real API server does not refuse when it is asked to")
    (tmp_path / "other").mkdir()
    expected = await _ending("create", endings, tmp_path / "other")
    await seed.create_extension()
    seed.server.fail(*request_.split(), status, times=3)
    await life(seed, MortalClient(), lambda: seed.until_done("Create"))
    assert await seed.snapshot() == expected
