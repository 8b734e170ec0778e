"""This daemon beside upstream's, in clusters of several sizes, asked the same questions."""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Sequence

from benchmarks.cluster.daemons import Place, cluster, cpu, places
from benchmarks.cluster.questions import Answer, Question, ask
from benchmarks.nodes.programs import Spegel
from benchmarks.report import markdown_table

_ALONE = ["nodes", "", "first peer p50 ms", "p90", "p99", "manifest p50 ms", "p90", "p99", "found %", "MB"]
_CROWD = ["nodes", "", "manifest p50 ms", "p90", "p99", "found %", "CPU ms each"]


def compare(programs: Sequence[Spegel], sizes: Sequence[int], questions: int) -> str:
    """Measure clusters; return the tables."""
    alone, crowded = [], []
    with places(max(sizes)) as all_places:
        for size in sizes:
            for program in programs:
                one, other = _measure(program, all_places[:size], questions)
                alone.append([str(size), program.name, *one])
                crowded.append([str(size), program.name, *other])
                print(*alone[-1], "|", *other, file=sys.stderr, flush=True)
    return f"""\
Clusters of whole daemons, each with containerd, asked for manifests that one other node has. One question
after another, at random times:

{markdown_table(_ALONE, alone)}

All nodes asked at once:

{markdown_table(_CROWD, crowded)}"""


def _measure(program: Spegel, places: Sequence[Place], count: int) -> tuple[list[str], list[str]]:
    client = places[0].machine
    first, second = (_questions(program, places, count, part) for part in range(2))
    with cluster(program, places) as running:
        alone = ask(client, [[one for several in zip(*first, strict=True) for one in several]])
        before = cpu(running)
        crowd = ask(client, second)
        spent = cpu(running) - before
        memory = statistics.mean(process.memory() for process in running)
    return (
        [
            *_percentiles([answer.resolved for answer in alone if answer.resolved is not None]),
            *_percentiles([answer.took for answer in alone if answer.found]),
            _found(alone),
            f"{memory:.0f}",
        ],
        [
            *_percentiles([answer.took for answer in crowd if answer.found]),
            _found(crowd),
            f"{1000 * spent / len(crowd):.1f}",
        ],
    )


def _questions(program: Spegel, places: Sequence[Place], count: int, part: int) -> list[list[Question]]:
    """Return for each node what it is asked for: what others have, the same whatever the program."""
    lists = []
    for place in places:
        manifests = [one for other in places if other is not place for one in other.manifests]
        random.Random(str(place.machine.addresses)).shuffle(manifests)
        each = count // len(places)
        address, _, _ = program.address(place.machine).rpartition(":")
        lists.append(
            [
                (address, f"/v2/app/manifests/{digest}?ns=registry.example.com")
                for digest in manifests[part * each : (part + 1) * each]
            ]
        )
    return lists


def _percentiles(seconds: Sequence[float]) -> list[str]:
    percentiles = statistics.quantiles(seconds, n=100)
    return [f"{1000 * percentiles[percent - 1]:.2f}" for percent in (50, 90, 99)]


def _found(answers: Sequence[Answer]) -> str:
    return f"{100 * statistics.mean(answer.found for answer in answers):.1f}"
