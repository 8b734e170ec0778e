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
        return [await self._search(searchers, providers) for _ in range(count)]

    async def search_at_once(self, count: int, searchers: list[Port], providers: list[Port]) -> list[Found]:
        """The same, all searches at once: their requests cannot be told apart."""
        searches = (self._search(searchers, providers) for _ in range(count))
        return await asyncio.gather(*searches)

    async def _search(self, searchers: list[Port], providers: list[Port]) -> Found:
        random = self.cluster.random
        provider = random.choice(providers)
        searcher = provider
        while searcher is provider:
            searcher = random.choice(searchers)
        return await find(searcher, random.choice(self.provided[provider]))


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

    Whoever searches, and whoever provides what is searched for, lives and has joined a minute ago or longer;
    all of them provide something.

    Returns:
        The searches of each interval.
    """
    cluster = contents.cluster
    random, loop = cluster.random, asyncio.get_running_loop()
    replaced = len(cluster.ports) // 10
    born = dict.fromkeys(cluster.ports, -60.0)
    results: list[list[Found]] = []
    for _ in range(intervals):
        running: list[asyncio.Task[list[Found]]] = []
        for _ in range(replaced):
            settled = [port for port in cluster.ports if born[port] < loop.time() - 60]
            leaving, *staying = random.sample(settled, len(settled))
            cluster.leave(leaving)
            port = cluster.join()
            born[port] = loop.time()
            contents.give(port, keys)
            taking_part = [port for port in staying if port in contents.provided]
            search = contents.search_at_once(max(1, searches // replaced), taking_part, taking_part)
            running.append(asyncio.create_task(search))
            await asyncio.sleep(PROVIDE_INTERVAL / replaced)
        results.append([found for task in running for found in await task])
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
        providers = [port for port in other if port in contents.provided]
        return await contents.search_at_once(searches, one, providers)

    await asyncio.sleep(apart)
    results = [await across()]
    for port in cluster.ports:
        port.side = 0
    for _ in range(minutes + 1):
        results.append(await across())
        await asyncio.sleep(60)
    return results
