"""The router as it runs: handshakes, provider records, advertising, lookups, memory.

All nodes are real, in processes that share one machine: routers with sockets on loopback, Noise and yamux,
and whole daemons in network namespaces, each with containerd, which needs root. ``SPEGEL_BINARY`` may name
upstream Spegel's program, whose clusters are then measured beside this one's. ``--write`` puts the tables
into docs/benchmarks.md; ``--quick`` measures less; ``--part`` only the routers or only the daemons.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cluster.comparison import compare
from benchmarks.cluster.daemon_process import daemon, lay_out, resident
from benchmarks.cluster.processes import Cluster
from benchmarks.nodes.programs import OURS, upstream
from benchmarks.report import machine, markdown_table, write_section
from daemon.kademlia.parameters import K

_PATIENCE = 300.0
_KEYS_A_NODE = 500
_PAUSE = 0.01
"""Seconds between two lookups that have nothing to do with each other, on average."""


async def single(handshakes: int, records: int) -> list[list[str]]:
    """Measure what one node takes in from one other."""
    rows = []
    async with Cluster() as cluster:
        (taker,) = await cluster.add(1, 1)
        (giver,) = await cluster.add(1, 1)
        await cluster.settle()
        for name, call, count in (
            ("handshake", "handshakes", handshakes),
            ("ADD_PROVIDER", "send", records),
        ):
            before, _ = await taker.call("usage")
            seconds = await giver.call(call, taker.addresses[0], count)
            after, _ = await taker.call("usage")
            rows.append([name, f"{count / seconds:.0f}", f"{(after - before) / count * 1e6:.0f}"])
            _progress(rows[-1])
    return rows


async def advertising(keys: int, peers: int) -> list[str]:
    """Measure how long it takes until all nodes that have to know of one node's keys do."""
    processes = peers if peers <= 50 else 4
    async with Cluster() as cluster:
        await cluster.add(processes, peers // processes)
        (advertiser,) = await cluster.add(1, 1)
        await cluster.settle()
        before, _ = await advertiser.call("usage")
        started = time.perf_counter()
        await advertiser.call("advertise", 0, keys)
        expected, held, seconds = keys * min(peers, K), 0, 0.0
        while held < expected and seconds < _PATIENCE:
            await asyncio.sleep(0.1)
            held = await cluster.records()
            seconds = time.perf_counter() - started
        after, _ = await advertiser.call("usage")
        row = [
            str(peers),
            str(keys),
            f"{seconds:.1f}",
            f"{after - before:.1f}",
            f"{100 * held / expected:.1f}",
        ]
        _progress(row)
        return row


async def lookups(nodes: int, keys: int, samples: int) -> list[list[str]]:
    """Measure lookups of keys that one node has, from nodes that look for them for the first time.

    Once one lookup follows upon another, at random times, as if each node had processors of its own; once all
    nodes look for something all the time.
    """
    async with Cluster() as cluster:
        processes = await cluster.add(nodes, 1)
        await cluster.settle()
        for number, process in enumerate(processes):
            await process.call("advertise", number * keys, keys)
        expected, started = nodes * keys * min(nodes - 1, K), time.perf_counter()
        while await cluster.records() < expected * 0.99 and time.perf_counter() - started < _PATIENCE:
            await asyncio.sleep(0.5)
        await cluster.settle()
        each = samples // nodes
        first, second = [], []
        for number in range(nodes):
            others = [key for key in range(nodes * keys) if key // keys != number]
            wanted = random.Random(number).sample(others, 2 * each)
            first.append(wanted[:each])
            second.append(wanted[each:])
        alone = [
            await process.call("look_up", [key], _PAUSE)
            for several in zip(*first, strict=True)
            for process, key in zip(processes, several, strict=True)
        ]
        together = await asyncio.gather(
            *(process.call("look_up", keys) for process, keys in zip(processes, second, strict=True))
        )
        return [_lookups(nodes, "one at a time", alone), _lookups(nodes, "all nodes at once", together)]


def _lookups(nodes: int, how: str, lists: Sequence[Sequence[float]]) -> list[str]:
    times = [seconds for some in lists for seconds in some]
    found = [1000 * seconds for seconds in times if seconds >= 0]
    percentiles = statistics.quantiles(found, n=100)
    row = [
        str(nodes),
        how,
        *(f"{percentiles[percent - 1]:.2f}" for percent in (50, 90, 99)),
        f"{100 * len(found) / len(times):.1f}",
    ]
    _progress(row)
    return row


async def memory(keys: int, peers: int) -> list[str]:
    """Measure the whole daemon among peers that advertise as well."""
    with tempfile.TemporaryDirectory() as directory:
        layout = Path(directory)
        lay_out(layout, keys)
        async with Cluster() as cluster:
            await cluster.add(4, peers // 4)
            await cluster.settle()
            async with daemon(layout, cluster.first[0]) as pid:
                await asyncio.sleep(10)
                alone = resident(pid)
                for number, process in enumerate(cluster.processes):
                    await process.call("advertise", number * peers // 4 * _KEYS_A_NODE, _KEYS_A_NODE)
                highest, last_change = resident(pid), time.perf_counter()
                while time.perf_counter() - last_change < 20:
                    await asyncio.sleep(1)
                    if resident(pid) > highest + 0.1:
                        highest, last_change = resident(pid), time.perf_counter()
        row = [str(keys), str(peers), str(_KEYS_A_NODE), f"{alone:.1f}", f"{highest:.1f}"]
        _progress(row)
        return row


async def routers(*, quick: bool) -> str:
    """Measure routers, and one whole daemon among them; return the tables."""
    singles = await single(300, 5_000) if quick else await single(2_000, 10_000)
    advertised = [
        await advertising(1_000 if quick else 5_000, peers) for peers in ((20,) if quick else (20, 50, 200))
    ]
    found = await lookups(10, 50, 200) if quick else await lookups(50, 100, 1_000)
    taken = [await memory(3_000, 40 if quick else 200)]
    return f"""\
{machine()}

What one node takes in from one other; both share the machine:

{markdown_table(["what", "per second", "CPU µs each"], singles)}

One node begins to advertise; until all of the nearest {K} nodes to each key have been told:

{markdown_table(["peers", "keys", "seconds", "CPU s", "told %"], advertised)}

Lookups on nodes in processes of their own, until the first peer is found, of keys that one node has:

{markdown_table(["nodes", "looking", "p50 ms", "p90 ms", "p99 ms", "found %"], found)}

Resident memory of the whole daemon, MB:

{markdown_table(["own keys", "peers", "keys of each", "after start", "at most"], taken)}"""


def daemons(*, quick: bool) -> str:
    """Measure clusters of whole daemons; return the tables."""
    programs = [OURS, *filter(None, [upstream()])]
    tables = compare(programs, (4,) if quick else (8, 20, 50), 100 if quick else 300)
    return f"{machine()}\n\n{tables}"


def _progress(row: list[str]) -> None:
    print(" ".join(row), file=sys.stderr, flush=True)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks router", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="measure less")
    parser.add_argument("--part", choices=["routers", "daemons"], help="measure only this")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    arguments = parser.parse_args()
    sections = {}
    if arguments.part != "daemons":
        sections["router"] = asyncio.run(routers(quick=arguments.quick))
    if arguments.part != "routers":
        if os.geteuid():
            sys.exit("python -m benchmarks router: network namespaces and containerd need root; see --part")
        sections["router clusters"] = daemons(quick=arguments.quick)
    for name, text in sections.items():
        if arguments.write:
            write_section(name, text)
        else:
            print(text, end="\n\n")
