"""On a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from daemon.cli.cleanup_wait import ProbeError, probe_all, wait
from daemon.http.message import Request, Response
from daemon.http.quiet import Quiet
from daemon.http.server import Server
from tests.virtual_time import virtual_time


class Probe:
    """Fails or succeeds by a script, and notes when it was asked."""

    def __init__(self, script: str, seconds: float = 0) -> None:
        self.times: list[float] = []
        self._script: Iterator[str] = iter(script)
        self._seconds = seconds

    async def __call__(self) -> None:
        self.times.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self._seconds)
        if next(self._script) == "-":
            raise ProbeError("not cleaned up")


@virtual_time
async def test_three_rounds_in_a_row_are_needed_the_first_at_once() -> None:
    probe = Probe("+++")
    await wait(probe, threshold=3, period=2)
    assert probe.times == [0, 2, 4]


@virtual_time
async def test_a_failure_starts_the_count_again() -> None:
    probe = Probe("-++-+++")
    await wait(probe, threshold=3, period=2)
    assert len(probe.times) == 7


@virtual_time
async def test_rounds_that_take_long_follow_each_other_without_piling_up() -> None:
    probe = Probe("+++", seconds=5)
    await wait(probe, threshold=3, period=2)
    assert probe.times == [0, 5, 10]


@pytest.mark.parametrize("status", [200, 404, 500])
async def test_a_probe_succeeds_with_200_only(status: int) -> None:
    asked: list[Request] = []

    def answer(request: Request) -> Response:
        asked.append(request)
        return Response(HTTPStatus(status))

    server = Server(answer, Quiet())
    server.listen("127.0.0.1:0")
    try:
        if status == 200:
            await probe_all("127.0.0.1", server.port)
        else:
            with pytest.raises(ProbeError, match=f"answers {status}"):
                await probe_all("127.0.0.1", server.port)
    finally:
        await server.drain(0)
    assert [(request.method, request.path) for request in asked] == [("GET", "/readyz")]


async def test_nobody_there_and_no_such_name_are_failures() -> None:
    with pytest.raises(ProbeError, match="cannot be reached"):
        await probe_all("127.0.0.1", 1)
    with pytest.raises(ProbeError, match="cannot be resolved"):
        await probe_all("name.invalid", 1)
