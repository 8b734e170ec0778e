"""Asks nodes for manifests; ``python -m benchmarks.cluster.questions`` does so on one of the machines.

It reads from its input, as JSON, lists of questions, each an address and a path. What is in one list is asked
one after another, several lists at the same time, over one connection to each node, as containerd has it. It
prints an answer for each question: how long it took, whether the manifest was there, and, of a single list,
how long it took the node until it knew who has the manifest. That is what the sum of the histogram
``spegel_resolve_duration_seconds`` has grown by, since nobody else asks the node meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks.nodes.machines import ROOT, Machine

_RESOLVED = re.compile(
    rb'^spegel_resolve_duration_seconds_(sum|count)\{router="libp2p"\} (\S+)$', re.MULTILINE
)
_PAUSE = 0.01
"""Seconds between two questions of a single list, on average."""
_LIMIT = 300.0

Question = tuple[str, str]
"""The address of a node and a path there."""


@dataclass(frozen=True)
class Answer:
    """How a question was answered; times in seconds."""

    took: float
    found: bool
    resolved: float | None


def ask(machine: Machine, lists: Sequence[Sequence[Question]]) -> list[Answer]:
    """Ask from a machine."""
    command = machine.command(sys.executable, "-m", "benchmarks.cluster.questions")
    done = subprocess.run(
        command,
        input=json.dumps(lists),
        capture_output=True,
        check=False,
        text=True,
        cwd=ROOT,
        timeout=_LIMIT,
    )
    if done.returncode:
        raise RuntimeError(f"asking nodes for manifests: {done.stderr[-2000:]}")
    return [Answer(**answer) for answer in json.loads(done.stdout)]


class _Nodes:
    """Connections to nodes, of which only one question at a time makes use."""

    def __init__(self) -> None:
        self._connections: dict[tuple[str, int], tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}

    async def get(self, address: str, port: int, path: str) -> tuple[int, bytes]:
        """Return the status and the body of an answer."""
        if (address, port) not in self._connections:
            self._connections[address, port] = await asyncio.open_connection(address, port)
        reader, writer = self._connections[address, port]
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}:{port}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if length := re.search(rb"\ncontent-length: *(\d+)", head):
            return int(head.split()[1]), await reader.readexactly(int(length[1]))
        body = b""
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
        return int(head.split()[1]), body

    async def resolved(self, address: str) -> tuple[float, float]:
        """Return how many lookups have found somebody, and the seconds of all of them."""
        _, text = await self.get(address, 9090, "/metrics")
        figures = {name: float(value) for name, value in _RESOLVED.findall(text)}
        return figures.get(b"count", 0.0), figures.get(b"sum", 0.0)


async def _ask_one_after_another(
    nodes: _Nodes, questions: Sequence[Question], *, alone: bool
) -> list[Answer]:
    answers = []
    for address, path in questions:
        count, seconds = await nodes.resolved(address) if alone else (0.0, 0.0)
        if alone:
            await asyncio.sleep(random.expovariate(1 / _PAUSE))
        started = time.perf_counter()
        status, _ = await nodes.get(address, 5000, path)
        took, resolved = time.perf_counter() - started, None
        if alone:
            more, longer = await nodes.resolved(address)
            resolved = (longer - seconds) / (more - count) if more > count else None
        answers.append(Answer(took, status == 200, resolved))
    return answers


async def _main() -> None:
    lists, nodes = json.load(sys.stdin), _Nodes()
    alone = len(lists) == 1
    answers = await asyncio.gather(*(_ask_one_after_another(nodes, one, alone=alone) for one in lists))
    print(json.dumps([asdict(answer) for some in answers for answer in some]))


if __name__ == "__main__":
    asyncio.run(_main())
