"""The router's Kademlia code in simulated clusters: what it finds, how fast, and what that costs.

``--write`` renews docs/router-simulation.md and its charts; ``--largest 200`` leaves out larger clusters.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import machine, markdown_table, write_section
from benchmarks.simulated.clock import virtual
from benchmarks.simulated.cluster import Cluster, node_of, walk
from benchmarks.simulated.network import Conditions, Port
from benchmarks.simulated.plot import Point, line_chart
from benchmarks.simulated.scenarios import Contents, churn, grow, heal, success
from daemon.kademlia.key import content_key
from daemon.kademlia.parameters import PROVIDE_INTERVAL

DOCS = Path(__file__).parent.parent / "docs"
DOCUMENT = DOCS / "router-simulation.md"

SIZES = (20, 200, 2_000, 10_000)
MAX_JOINING = 2_000
"""Nodes up to which a cluster joins one by one; a larger one is connected as joining would have it."""
SAMPLE = 20
"""Nodes of a connected cluster that take part where load does not matter; the others only answer."""
MAX_JOINING_LOSSY = 200
"""Nodes of the largest cluster that joins while messages get lost; every loss takes tables apart."""
KEYS = 1_000
SEED = 1


def new_cluster(loss: float = 0.0) -> Cluster:
    """Return an empty cluster on a LAN where a message takes 0.5 ms."""
    return Cluster(SEED, Conditions(loss=loss, codec=False))


async def connected(cluster: Cluster, size: int) -> list[Port]:
    """Fill a cluster with nodes that know one another; return the few that take part."""
    for port in [cluster.make() for _ in range(size)]:
        port.listens = False
    cluster.connect_all()
    sample = cluster.random.sample(cluster.ports, SAMPLE)
    for port in sample:
        cluster.run(port)
    await asyncio.sleep(60)
    return sample


@dataclass(frozen=True, slots=True)
class Searches:
    """How searches went in one cluster; times in milliseconds."""

    table: float
    found: float
    median: float
    p99: float
    requests: float
    hops: float
    max_hops: int
    exact: float


@virtual
async def search_at(size: int, *, joining: bool) -> Searches:
    """Search without churn."""
    async with new_cluster() as cluster:
        if joining:
            await grow(cluster, size)
            sample = cluster.random.sample(cluster.ports, SAMPLE)
        else:
            sample = await connected(cluster, size)
        contents = Contents(cluster)
        for port in sample:
            contents.give(port, 100)
        await asyncio.sleep(120)
        found = await contents.search(3_000, sample, sample)
        walks, exact = [], 0
        for number in range(300):
            port, key = cluster.random.choice(sample), content_key(f"nowhere {number}")
            walks.append(await walk(port, key))
            exact += walks[-1].nearest == cluster.nearest(key, without=port)
        times = [1000 * one.first for one in found]
        return Searches(
            table=mean([len(node_of(port).table) for port in sample]),
            found=success(found),
            median=percentile(times, 0.5),
            p99=percentile(times, 0.99),
            requests=mean([one.requests for one in found]),
            hops=mean([one.hops for one in walks]),
            max_hops=max(one.hops for one in walks),
            exact=exact / len(walks),
        )


def search_section(sizes: Sequence[int]) -> str:
    """Searches in clusters of all sizes."""
    rows: list[list[str]] = []
    results: dict[str, dict[int, Searches]] = {"joined": {}, "connected": {}}
    for size in sizes:
        for how, of_size in results.items():
            joining = how == "joined"
            if (joining and size > MAX_JOINING) or (not joining and size < 200):
                continue
            went = of_size[size] = search_at(size, joining=joining)
            rows.append(
                [
                    f"{size:,}",
                    how,
                    f"{went.table:.0f}",
                    f"{went.found:.2%}",
                    f"{went.median:.2f} ms",
                    f"{went.p99:.2f} ms",
                    f"{went.requests:.1f}",
                    f"{went.hops:.2f}",
                    str(went.max_hops),
                    f"{went.exact:.1%}",
                ]
            )

    def lines(figure: Callable[[Searches], float], name: str = "{}") -> dict[str, list[Point]]:
        return {
            name.format(how): [(size, figure(went)) for size, went in of_size.items()]
            for how, of_size in results.items()
        }

    hops, requests = lines(lambda went: went.hops), lines(lambda went: went.requests)
    times = lines(lambda went: went.median, "p50, {}") | lines(lambda went: went.p99, "p99, {}")
    write_chart("hops", line_chart("Hops of a lookup", "nodes", "hops, mean", hops, log_x=True))
    title = "Requests of a search for a key that one node has"
    write_chart("requests", line_chart(title, "nodes", "requests, mean", requests, log_x=True))
    title = "Time until the first provider was found"
    write_chart("time", line_chart(title, "nodes", "milliseconds", times, log_x=True))
    header = ["nodes", "how", "table", "found", "first, p50", "p99", "requests", "hops, mean", "max"]
    return markdown_table([*header, "exactly the 20 nearest"], rows)


async def load_of(cluster: Cluster, providers: list[Port]) -> tuple[float, list[int], list[int]]:
    """Let nodes provide; return bytes per provider and hour, and records and work of every node."""
    contents = Contents(cluster)
    for port in providers:
        contents.give(port, KEYS)
    await asyncio.sleep(PROVIDE_INTERVAL)
    before = sum(port.traffic.bytes_sent + port.traffic.bytes_received for port in providers)
    handled = [port.traffic.handled for port in cluster.ports]
    await asyncio.sleep(PROVIDE_INTERVAL)
    after = sum(port.traffic.bytes_sent + port.traffic.bytes_received for port in providers)
    work = [port.traffic.handled - was for port, was in zip(cluster.ports, handled, strict=True)]
    records = [len(node_of(port).store) for port in cluster.ports]
    return (after - before) / len(providers) * 3600 / PROVIDE_INTERVAL, records, work


@virtual
async def load_when_all_provide(size: int) -> tuple[float, list[int], list[int]]:
    """Measure a cluster in which every node provides."""
    async with new_cluster() as cluster:
        await grow(cluster, size)
        return await load_of(cluster, cluster.ports)


@virtual
async def load_when_few_provide(size: int) -> tuple[float, list[int], list[int]]:
    """The same in a connected cluster, from the nodes that take part: others would do to them as they do."""
    async with new_cluster() as cluster:
        traffic, records, work = await load_of(cluster, await connected(cluster, size))
        return 2 * traffic, records, work


def load_section(sizes: Sequence[int]) -> str:
    """Traffic and its spread."""
    rows, traffic, spread = [], [], {}
    for size in sizes:
        everybody = size <= 200
        measure = load_when_all_provide if everybody else load_when_few_provide
        per_hour, records, work = measure(size)
        traffic.append((float(size), per_hour / 1e6))
        ranked = sorted(records, reverse=True)
        spread[f"{size:,} nodes"] = [
            (100 * index / (size - 1), ranked[index] / mean(records))
            for index in range(0, size, max(1, size // 200))
        ]
        rows.append(
            [
                f"{size:,}",
                "all" if everybody else f"{SAMPLE} nodes",
                f"{per_hour / 1e6:.1f} MB",
                f"{per_hour / 3600 / 1e3:.1f} kB/s",
                f"{mean(records):,.0f}",
                f"{percentile(records, 0.99) / mean(records):.2f}",
                f"{max(records) / mean(records):.2f}",
                f"{max(work) / mean(work):.2f}",
            ]
        )
    write_chart(
        "traffic",
        line_chart(
            "Traffic of a node, every node providing 1,000 keys",
            "nodes",
            "MB per hour, sent and received",
            {"per node": traffic},
            log_x=True,
        ),
    )
    write_chart(
        "spread",
        line_chart(
            "Spread of provider records over nodes",
            "nodes with at least so many, %",
            "records, times the mean",
            spread,
        ),
    )
    header = ["nodes", "providing", "per node and hour", "that is", "records per node"]
    return markdown_table([*header, "p99 / mean", "max / mean", "requests handled, max / mean"], rows)


@virtual
async def churned(size: int, intervals: int) -> list[float]:
    """Return the success of searches of each interval, a tenth of the nodes being replaced in each."""
    async with new_cluster() as cluster:
        if size <= MAX_JOINING:
            await grow(cluster, size)
            taking_part = cluster.ports
        else:
            taking_part = await connected(cluster, size)
        contents = Contents(cluster)
        for port in taking_part:
            contents.give(port, 5)
        await asyncio.sleep(120)
        return [success(found) for found in await churn(contents, intervals, 5, 2_000)]


@virtual
async def stale(size: int) -> float:
    """Replace a tenth of a connected cluster at once, and search before any table is refreshed."""
    async with new_cluster() as cluster:
        sample = await connected(cluster, size)
        contents = Contents(cluster)
        for port in sample:
            contents.give(port, 100)
        await asyncio.sleep(120)
        others = [port for port in cluster.ports if port not in contents.provided]
        for port in cluster.random.sample(others, size // 10):
            cluster.leave(port)
        for _ in range(size // 10):
            cluster.join()
            await asyncio.sleep(0.05)
        return success(await contents.search_at_once(2_000, sample, sample))


def churn_section(sizes: Sequence[int]) -> str:
    """Searches while nodes are replaced."""
    rows = []
    lines: dict[str, list[Point]] = {"evenly": [], "at once, tables stale": []}
    for size in sizes:
        for how, line in lines.items():
            if how == "evenly":
                found = churned(size, 4 if size <= 200 else 1)
            elif size >= 200:
                found = [stale(size)]
            else:
                continue
            line.append((size, 100 * mean(found)))
            rows.append([f"{size:,}", how, f"{mean(found):.2%}", f"{min(found):.2%}"])
    title = "Searches while a tenth of the nodes is replaced"
    write_chart("churn", line_chart(title, "nodes", "found, %", lines, log_x=True, y_range=(95, 100)))
    return markdown_table(["nodes", "a tenth replaced", "found", "worst interval"], rows)


@virtual
async def healed(size: int, apart: float) -> list[float]:
    """Return the success of searches across a cut: before it is mended, just after, and every minute."""
    async with new_cluster() as cluster:
        await grow(cluster, size)
        contents = Contents(cluster)
        for port in cluster.ports:
            contents.give(port, 2)
        await asyncio.sleep(120)
        return [success(found) for found in await heal(contents, apart, 12, 100)]


def partition_section(sizes: Sequence[int]) -> str:
    """Searches across a cluster that was cut in halves."""
    rows, lines = [], {}
    for size in sizes:
        before, *after = healed(size, 25 * 60)
        lines[f"{size:,} nodes"] = [(float(minute), 100 * part) for minute, part in enumerate(after)]
        whole = next((minute for minute in range(len(after)) if min(after[minute:]) == 1), None)
        rows.append(
            [
                f"{size:,}",
                f"{before:.1%}",
                *(f"{after[minute]:.1%}" for minute in (0, 1, 2, 5, 10)),
                str(whole),
            ]
        )
    write_chart(
        "partition",
        line_chart(
            "Searches across a partition of 25 minutes, after it has healed",
            "minutes since",
            "found, %",
            lines,
            y_range=(0, 100),
        ),
    )
    header = ["nodes", "apart", "healed", "1 min", "2 min", "5 min", "10 min", "all found from minute"]
    return markdown_table(header, rows)


@virtual
async def lossy(size: int, loss: float) -> float:
    """Return the success of searches when a part of all messages gets lost."""
    async with new_cluster(loss) as cluster:
        if size <= MAX_JOINING_LOSSY:
            await grow(cluster, size)
            searchers, providers = cluster.ports, cluster.ports[:SAMPLE]
        else:
            searchers = providers = await connected(cluster, size)
        contents = Contents(cluster)
        for port in providers:
            contents.give(port, 50)
        await asyncio.sleep(5 * 60)
        return success(await contents.search_at_once(2_000, searchers, providers))


def loss_section(sizes: Sequence[int]) -> str:
    """Searches on a network that loses messages."""
    losses = (0.01, 0.05, 0.2)
    rows, lines = [], {}
    for size in sizes:
        found = [lossy(size, loss) for loss in losses]
        rows.append([f"{size:,}", *(f"{part:.2%}" for part in found)])
        lines[f"{size:,} nodes"] = [
            (100 * loss, 100 * part) for loss, part in zip(losses, found, strict=True)
        ]
    title = "Searches on a network that loses messages"
    write_chart("loss", line_chart(title, "lost, %", "found, %", lines, y_range=(50, 100)))
    return markdown_table(["nodes", *(f"{loss:.0%} lost" for loss in losses)], rows)


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean."""
    return sum(values) / len(values)


def percentile(values: Sequence[float], part: float) -> float:
    """Return the value that a part of the values does not exceed."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]


def write_chart(name: str, svg: str) -> None:
    """Keep a chart until it is clear that charts are wanted."""
    CHARTS[DOCS / f"router-simulation-{name}.svg"] = svg


CHARTS: dict[Path, str] = {}
SECTIONS: dict[str, Callable[[Sequence[int]], str]] = {
    "searches": search_section,
    "load": load_section,
    "churn": churn_section,
    "partition": partition_section,
    "loss": loss_section,
}


def main() -> None:
    """Run the simulations and print, or write, their tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks simulation", description=__doc__)
    parser.add_argument("--largest", type=int, default=10_000, help="leave out clusters of more nodes")
    parser.add_argument("--write", action="store_true", help="renew docs/router-simulation.md")
    parser.add_argument("--only", choices=SECTIONS, help="one part")
    arguments = parser.parse_args()
    sizes = [size for size in SIZES if size <= arguments.largest]
    start = time.monotonic()
    for name, section in SECTIONS.items():
        if arguments.only in (None, name):
            table = section(sizes)
            print(f"{name}, after {time.monotonic() - start:.0f} s\n\n{table}\n", flush=True)
            if arguments.write:
                write_section(name, table, DOCUMENT)
    if arguments.write:
        write_section("machine", f"Simulated on {machine()}", DOCUMENT)
        for path, svg in CHARTS.items():
            path.write_text(svg)
