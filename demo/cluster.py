"""Nodes of one cluster: each has an address of loopback, a directory, an image layout, and the daemon."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from demo.agent import Setup, certs_d
from demo.layout import Layout
from demo.processes import Process, Processes
from demo.puller import Fetched, Part, Puller, Reference, Watch

_PEERS = re.compile(r"^spegel_router_peers (\S+)$", re.MULTILINE)
_ADVERTISED = re.compile(r"^spegel_advertised_keys\{[^}]*\} (\S+)$", re.MULTILINE)
_MIRRORED = re.compile(
    r'@(sha256:[0-9a-f]{64})</code> GET \w+<(?:(?!</tr>).)*?data-label="From"><div><code>([^<]+)</code>'
)
"""A row of the debug page: content that peers had, and the IDs of these."""


def address_of(number: int) -> str:
    """Return the address of a node; nodes count from 1."""
    return f"127.0.0.{number + 1}"


@dataclass(frozen=True, slots=True)
class Node:
    """A node whose daemon runs."""

    name: str
    address: str
    ports: Mapping[str, int]
    certs_d: Path
    layout: Layout
    daemon: Process
    session: aiohttp.ClientSession

    @property
    def registry(self) -> str:
        """Where the daemon serves images: host and port."""
        return f"{self.address}:{self.ports['registry']}"

    @property
    def debug_page(self) -> str:
        """What a person can look at."""
        return f"{self._pages}/debug/web/"

    async def id(self) -> str:
        """Return the ID under which peers know it."""
        async with self.session.get(f"{self.debug_page}metadata") as answer:
            identity: str = (await answer.json())["libp2p"]["id"]
            return identity

    async def until_it_knows(self, others: int) -> None:
        """Wait until the daemon knows so many other nodes."""

        async def look() -> bool | None:
            return await self._figure(_PEERS) >= others or None

        await self.daemon.until(look)

    async def until_advertised(self, keys: int) -> None:
        """Wait until the daemon offers so many names and digests to others."""

        async def look() -> bool | None:
            return await self._figure(_ADVERTISED) >= keys or None

        await self.daemon.until(look)

    async def until_it_finds(self, image: Reference, parts: Iterable[Part]) -> None:
        """Wait until other nodes would give this one an image.

        A daemon looks for peers for 20 ms before it sends containerd to upstream. That is plenty between
        machines, but little where all of them share two busy cores; what was found stays known for a moment.
        """
        for path in (f"manifests/{image.tag}", *(part.path for part in parts)):

            async def look(path: str = path) -> bool | None:
                url = f"http://{self.registry}/v2/{image.repository}/{path}"
                async with self.session.head(url, params={"ns": image.registry}) as answer:
                    return answer.status == 200 or None

            await self.daemon.until(look)

    async def pull(self, image: Reference, watch: Watch) -> list[Fetched]:
        """Pull an image as the node's containerd would."""
        return await Puller(self.session, self.certs_d, self.layout).pull(image, watch)

    async def sources(self, digests: Iterable[str]) -> Mapping[str, Sequence[str]]:
        """Return the IDs of the peers that content came from; its debug page names them."""
        wanted = set(digests)

        async def look() -> Mapping[str, Sequence[str]] | None:
            async with self.session.get(self.debug_page) as answer:
                rows = _MIRRORED.findall(await answer.text())
            found = {digest: peers.split(", ") for digest, peers in rows if digest in wanted}
            return found if found.keys() == wanted else None  # a moment after the last byte

        return await self.daemon.until(look)

    async def _figure(self, pattern: re.Pattern[str]) -> float:
        try:
            async with self.session.get(f"{self._pages}/metrics") as answer:
                found = pattern.search(await answer.text())
        except aiohttp.ClientError:
            return 0
        return float(found[1]) if found else 0

    @property
    def _pages(self) -> str:
        return f"http://{self.address}:{self.ports['metrics']}"


class Cluster:
    """Starts nodes, each with what the OperatingSystemConfig brings it."""

    def __init__(
        self,
        processes: Processes,
        session: aiohttp.ClientSession,
        directory: Path,
        setup: Setup,
        secret: Mapping[str, bytes],
    ) -> None:
        """Begin without nodes."""
        self._processes = processes
        self._session = session
        self._directory = directory
        self._setup = setup
        self._secret = secret
        self.nodes: list[Node] = []

    async def add(self, count: int = 1) -> Sequence[Node]:
        """Start some more nodes."""
        first = len(self.nodes) + 1
        added = await asyncio.gather(*map(self._start, range(first, first + count)))
        self.nodes += added
        return added

    async def until_met(self) -> None:
        """Wait until every node knows all others."""
        for node in self.nodes:
            await node.until_it_knows(len(self.nodes) - 1)

    async def names(self) -> dict[str, str]:
        """Return what nodes are called here, by their IDs."""
        return {await node.id(): node.name for node in self.nodes}

    async def _start(self, number: int) -> Node:
        name, address, root = f"node {number}", address_of(number), self._directory / f"node-{number}"
        self._setup.install(root, address, self._secret)
        layout = Layout(root / "images")
        command = [sys.executable, "-m", "daemon", *self._setup.flags(root, address)]
        command.append(f"--oci-layout={layout.root}")
        process = await self._processes.start(name, command)
        return Node(name, address, self._setup.ports, certs_d(root), layout, process, self._session)
