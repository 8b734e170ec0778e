"""What is made to happen to a simulated cluster, and what is looked at meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from benchmarks.simulated.cluster import Cluster, Found, find, node_of
from benchmarks.simulated.network import Port
from daemon.kademlia.key import content_key
from daemon.kademlia.parameters import PROVIDE_INTERVAL, REFRESH_INTERVAL

JOINS_PER_SECOND = 20


@dataclass
class Contents:
    """Which node provides which keys; each key is provided by one node."""

    cluster: Cluster
    provided: dict[Port, list[bytes]] = field(default_factory=dict)
    made: int = 0

    def give(self, port: Port, count: int) -> None:
        """Let a node provide so many new keys."""
        keys = [content_key(f"content {number}") for number in range(self.made, self.made + count)]
        self.made += count
        self.provided.setdefault(port, []).extend(keys)
        node_of(port).provide(keys)

    async def search(self, count: int, searchers: list[Port], providers: list[Port]) -> list[Found]:
        """Search for random keys of random providers from random nodes, one search after the other."""
        found = []
        for _ in range(count):
            provider = self.cluster.random.choice(providers)
            searcher = self.cluster.random.choice([port for port in searchers[:50] if port is not provider])
            found.append(await find(searcher, self.cluster.random.choice(self.provided[provider])))
        return found


def success(found: Iterable[Found]) -> float:
    """Return the part of searches that found a provider."""
    results = [one.providers > 0 for one in found]
    return sum(results) / len(results)


async def grow(cluster: Cluster, count: int) -> None:
    """Let nodes join one after the other, and settle."""
    while len(cluster.ports) < count:
        cluster.join()
        await asyncio.sleep(1 / JOINS_PER_SECOND)
    await asyncio.sleep(1.2 * REFRESH_INTERVAL)


async def churn(contents: Contents, intervals: int, keys: int, searches: int) -> list[list[Found]]:
    """Replace a tenth of the nodes per provider interval, evenly, each by one with as many new keys.

    Whatever is searched for is provided by a node that lives, at least for a minute.

    Returns:
        The searches of each interval.
    """
    cluster = contents.cluster
    random, loop = cluster.random, asyncio.get_running_loop()
    pause = PROVIDE_INTERVAL / (len(cluster.ports) / 10)
    born: dict[Port, float] = {}
    results: list[list[Found]] = []
    for _ in range(intervals):
        found: list[Found] = []
        end = loop.time() + PROVIDE_INTERVAL
        while loop.time() < end:
            cluster.leave(random.choice(cluster.ports))
            port = cluster.join()
            born[port] = loop.time()
            contents.give(port, keys)
            await asyncio.sleep(pause)
            settled = [port for port in cluster.ports if born.get(port, -60) < loop.time() - 60]
            random.shuffle(settled)
            found += await contents.search(max(1, int(searches * pause / PROVIDE_INTERVAL)), settled, settled)
        results.append(found)
    return results


async def heal(contents: Contents, apart: float, minutes: int, searches: int) -> list[list[Found]]:
    """Cut the cluster in two halves for some seconds, then search across from minute to minute.

    Returns:
        The searches just before the cut is mended, those just after it, and those after each minute.
    """
    cluster = contents.cluster
    halves: tuple[list[Port], list[Port]] = ([], [])
    for number, port in enumerate(cluster.ports):
        port.side = number % 2
        halves[number % 2].append(port)

    async def across() -> list[Found]:
        one, other = cluster.random.sample(halves, 2)
        cluster.random.shuffle(one)
        return await contents.search(searches, one, [port for port in other if port in contents.provided])

    await asyncio.sleep(apart)
    results = [await across()]
    for port in cluster.ports:
        port.side = 0
    for _ in range(minutes + 1):
        results.append(await across())
        await asyncio.sleep(60)
    return results
