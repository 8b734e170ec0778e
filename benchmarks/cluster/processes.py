"""Starts workers and talks to them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

from daemon.kademlia.parameters import K

_ROOT = Path(__file__).parent.parent.parent
_PATIENCE = 600.0
_PAUSE = 2.0
"""Seconds between two looks at what all processes do."""
_IDLE = 0.5
"""The part of one processor that nodes take, all together, which have nothing to do."""


class Process:
    """One worker. Calls are made one at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.addresses: list[str] = []

    async def call(self, name: str, *arguments: object) -> Any:
        """Let the worker do something and return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, *arguments]).encode() + b"\n")
        async with asyncio.timeout(_PATIENCE):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("a worker has ended")
        return json.loads(line)


@contextlib.asynccontextmanager
async def worker() -> AsyncIterator[Process]:
    """Run one worker."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.cluster.worker", stdin=pipe, stdout=pipe, cwd=_ROOT, limit=2**24
    )
    try:
        yield Process(process)
    finally:
        process.kill()
        await process.wait()


class Cluster:
    """Workers in one network."""

    def __init__(self) -> None:
        self._stack = contextlib.AsyncExitStack()
        self._size = 0
        self.processes: list[Process] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    @property
    def first(self) -> list[str]:
        """The address that others begin with, if there is a node."""
        return self.processes[0].addresses[:1] if self.processes else []

    async def add(self, processes: int, routers: int) -> list[Process]:
        """Start so many processes with so many routers each."""
        added = []
        for _ in range(processes):
            process = await self._stack.enter_async_context(worker())
            process.addresses = await process.call("start", routers, self.first)
            self.processes.append(process)
            added.append(process)
            self._size += routers
        return added

    async def settle(self) -> None:
        """Wait until every node knows as many others as it needs, and has said what it has to say."""
        enough = min(self._size - 1, K // 2)  # the rest is met when it is needed
        for process in self.processes:
            while await process.call("known") < enough:
                await asyncio.sleep(0.2)
        before = await self._cpu_seconds()
        while True:
            await asyncio.sleep(_PAUSE)
            now = await self._cpu_seconds()
            if now - before < _IDLE * _PAUSE:
                return
            before = now

    async def _cpu_seconds(self) -> float:
        usages = [await process.call("usage") for process in self.processes]
        return float(sum(seconds for seconds, _ in usages))

    async def records(self) -> int:
        """Return how many provider records all nodes hold."""
        return sum([await process.call("records") for process in self.processes])
