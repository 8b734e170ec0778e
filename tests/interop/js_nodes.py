"""js-libp2p nodes in a process of Node.js; see js/nodes.mjs for what they can do."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

JS = Path(__file__).parent / "js"
LIMIT = 180.0
"""Seconds for any one call; only a broken node needs them."""


class JsNodes:
    """The process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    async def call(self, node: str, call: str, *parameters: object) -> Any:
        """Let a node do something and return its answer."""
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        request = {"id": number, "node": node, "call": call, "parameters": parameters}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        async with asyncio.timeout(LIMIT):
            return await answer

    async def start(self, name: str) -> JsNode:
        """Start a node."""
        started = await self.call(name, "start")
        return JsNode(self, name, started["id"], tuple(started["addresses"]))

    async def listen(self) -> None:
        """Take answers until the process ends."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            answer = json.loads(line)
            waiting = self._waiting.pop(answer["id"])
            if waiting.done():
                continue
            if "error" in answer:
                waiting.set_exception(AssertionError(answer["error"]))
            else:
                waiting.set_result(answer["result"])


@dataclass(frozen=True)
class JsNode:
    """One node."""

    nodes: JsNodes
    name: str
    id: str
    addresses: tuple[str, ...]
    """With the ID."""

    async def call(self, call: str, *parameters: object) -> Any:
        """Let it do something."""
        return await self.nodes.call(self.name, call, *parameters)


@asynccontextmanager
async def js_nodes() -> AsyncIterator[JsNodes]:
    """Run the process."""
    node = shutil.which("node")
    assert node, "tox -e interop brings Node.js"
    process = await asyncio.create_subprocess_exec(
        node,
        "nodes.mjs",
        cwd=JS,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    nodes = JsNodes(process)
    listening = asyncio.create_task(nodes.listen())
    try:
        yield nodes
    finally:
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(LIMIT):
            await listening
            await process.wait()
