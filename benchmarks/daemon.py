"""What the daemon costs and how fast it is, beside nginx and upstream Spegel; all on one machine, in one run.

``python -m benchmarks daemon [--quick] [--write]``, as root: two network namespaces joined by a cable, on
each a containerd and a Spegel of either kind. The environment variable SPEGEL_BINARY names upstream's
program; without it there are no figures of it. What is compared is measured in turn, A B A B, and ratios are
medians of the ratios of neighbours: what else the machine does meanwhile then strikes both alike.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.nodes.machines import ROOT, Machine, Running, cable, two_machines, wait_for
from benchmarks.nodes.programs import (
    BUFFERED_PORT,
    NGINX_PORT,
    OURS,
    UNBUFFERED_PORT,
    Containerd,
    Image,
    Spegel,
    containerd,
    file_server,
    import_image,
    proxies,
    ready,
    upstream,
)
from benchmarks.report import machine, markdown_table, write_section


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    layer: int
    rounds: int
    seconds: float
    misses: int


FULL = Sizes(2**30, 9, 1.0, 1000)
QUICK = Sizes(2**28, 3, 1.0, 200)


@dataclass
class Contender:
    """One server in a comparison, with what was measured of it so far."""

    name: str
    address: str
    process: Running
    figures: list[dict[str, float]] = field(default_factory=list)

    def median(self, name: str) -> float:
        """Return the median of a figure."""
        return statistics.median(one[name] for one in self.figures)

    def ratio(self, other: Contender, name: str) -> float:
        """Return the median ratio of a figure to another's, round by round."""
        pairs = zip(self.figures, other.figures, strict=True)
        return statistics.median(mine[name] / theirs[name] for mine, theirs in pairs)


Measure = Callable[[Contender], dict[str, float]]


@dataclass
class Site:
    """Everything that runs."""

    near: Machine
    far: Machine
    image: Image
    sizes: Sizes
    near_store: Containerd
    far_store: Containerd
    directory: Path
    spegels: dict[str, list[Running]]
    """By name, the processes on the near machine and on the far one."""

    def compare(self, contenders: Sequence[Contender], measure: Measure) -> None:
        """Measure the contenders in turn; the first round only warms up."""
        for number in range(self.sizes.rounds + 1):
            for contender in contenders:
                before = contender.process.cpu()
                figures = measure(contender)
                figures["cpu"] = contender.process.cpu() - before
                if number:
                    contender.figures.append(figures)
            print(".", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)

    def blob(self, contender: Contender) -> dict[str, float]:
        """Have the layer sent to the near machine."""
        path = f"/v2/library/big/blobs/{self.image.layer}?ns=docker.io"
        figures = self.near.client("download", contender.address, path)
        gigabytes = figures["bytes"] / 1e9
        return figures | {"speed": gigabytes / figures["seconds"], "gigabytes": gigabytes}

    def manifests(
        self, method: str, connections: int, reference: str
    ) -> Callable[[Contender], dict[str, float]]:
        """Return what asks for a manifest for a while."""
        path = f"/v2/library/big/manifests/{reference}?ns=docker.io"
        options = (f"--method={method}", f"--connections={connections}", f"--seconds={self.sizes.seconds}")
        return lambda contender: self.near.client("requests", contender.address, path, *options)

    def misses(self, contender: Contender) -> dict[str, float]:
        """Ask for what nobody has."""
        count = f"--count={self.sizes.misses}"
        return self.near.client(
            "misses", contender.address, "/v2/library/big/blobs/{digest}?ns=docker.io", count
        )


def transfers(contenders: Sequence[Contender]) -> str:
    """Return the table of a comparison of transfers; ratios are those of the first contender to each."""
    first = contenders[0]
    for contender in contenders:
        for figures in contender.figures:
            figures["cost"] = figures["cpu"] / figures["gigabytes"]
    rows = [
        [
            one.name,
            f"{one.median('speed'):.2f}",
            f"{one.median('cost'):.2f}",
            "" if one is first else f"{first.ratio(one, 'speed'):.2f}",
            "" if one is first else f"{first.median('cost') / max(one.median('cost'), 1e-3):.2f}",
        ]
        for one in contenders
    ]
    return markdown_table(["", "GB/s", "CPU s/GB", "speed, ours to it", "CPU, ours to it"], rows)


def answers(contenders: Sequence[Contender]) -> list[list[str]]:
    """Return the rows of a comparison of small requests."""
    first = contenders[0]
    return [
        [
            one.name,
            f"{one.median('rate'):.0f}",
            f"{one.median('p50'):.3f}",
            f"{one.median('p99'):.3f}",
            f"{statistics.median(figures['cpu'] / figures['count'] for figures in one.figures) * 1e6:.0f}",
            "" if one is first else f"{first.ratio(one, 'p50'):.2f}",
        ]
        for one in contenders
    ]


def restart(spegel: Spegel, site: Site) -> tuple[float, float]:
    """Return the seconds from start to the first answer, and from SIGTERM to that of the next process."""
    address = spegel.address(site.near)

    def answer(started: float) -> float:
        wait_for(site.near, process, address, "/v2/")
        return time.perf_counter() - started

    def start() -> Running:
        return spegel.start(site.near, site.far, site.near_store, site.directory)

    started = time.perf_counter()
    process = start()
    first = answer(started)
    started = time.perf_counter()
    process.stop()
    process = start()
    second = answer(started)
    process.stop()
    return first, second


def measure(site: Site, spegels: Sequence[Spegel], far_nginx: Running, near_nginx: Running) -> str:
    """Measure everything; return the report."""
    near, far = site.near, site.far
    nginx_address = f"{far.addresses[0]}:{NGINX_PORT}"

    def contenders(side: int) -> list[Contender]:
        machine_of = (near, far)[side]
        return [Contender(one.name, one.address(machine_of), site.spegels[one.name][side]) for one in spegels]

    serving = [*contenders(1)]
    serving.insert(1, Contender("nginx, sendfile", nginx_address, far_nginx))
    site.compare(serving, site.blob)

    relaying = [*contenders(0)]
    for name, port in (("buffered", BUFFERED_PORT), ("unbuffered", UNBUFFERED_PORT)):
        relaying.append(Contender(f"nginx proxy, {name}", f"{near.addresses[0]}:{port}", near_nginx))
    site.compare(relaying, site.blob)

    slowly = contenders(0)
    with cable(far, CABLE):
        site.compare(slowly, site.blob)

    small: list[list[str]] = []
    digest = site.image.manifest
    for method, connections, reference, title in (
        ("GET", 1, digest, "GET, 1 connection"),
        ("GET", 16, digest, "GET, 16 connections"),
        ("HEAD", 1, digest, "HEAD, 1 connection"),
        ("HEAD", 16, digest, "HEAD, 16 connections"),
        ("HEAD", 1, "1", "HEAD by tag, 1 connection"),
    ):
        asked = [*contenders(1)]
        if reference == digest:
            asked.insert(1, Contender("nginx", nginx_address, far_nginx))
        site.compare(asked, site.manifests(method, connections, reference))
        small += [[title, *row] for row in answers(asked)]
    missing = contenders(0)
    site.compare(missing, site.misses)
    small += [["GET of a blob that nobody has", *row] for row in answers(missing)]

    memory = [
        [
            one.name,
            *(f"{process.memory(field):.0f}" for process in site.spegels[one.name] for field in FIELDS),
        ]
        for one in spegels
    ]
    return f"""\
{machine()} Layer of {site.image.size / 2**20:.0f} MiB, {site.sizes.rounds} rounds.

From the store to another machine:

{transfers(serving)}

From one machine by way of the other's daemon to a client there:

{transfers(relaying)}

The same by a cable that carries {CABLE}/s:

{transfers(slowly)}

Small requests, times in milliseconds, CPU in microseconds for a request:

{markdown_table(["", "", "requests/s", "p50", "p99", "CPU", "p50, ours to it"], small)}

Resident memory in MB, after all this:

{markdown_table(["", "relaying node", "at most", "serving node", "at most"], memory)}"""


CABLE = "5Gbit"
"""Per second, as ``tc`` writes it."""
FIELDS = ("VmRSS", "VmHWM")


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks daemon", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smaller layer, fewer rounds")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    arguments = parser.parse_args()
    if os.geteuid():
        sys.exit("python -m benchmarks daemon: network namespaces and containerd need root")
    sizes = QUICK if arguments.quick else FULL
    compileall.compile_dir(ROOT / "daemon", quiet=2)
    spegels = [OURS, *filter(None, [upstream()])]
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        directory.chmod(0o755)
        near, far = stack.enter_context(two_machines())
        near_store = stack.enter_context(containerd(directory / "near"))
        far_store = stack.enter_context(containerd(directory / "far"))
        image = import_image(far_store, "docker.io/library/big:1", sizes.layer)
        import_image(near_store, "docker.io/library/other:1", 2**20)
        site = Site(near, far, image, sizes, near_store, far_store, directory, {})
        starts = [[one.name, *(f"{seconds:.2f}" for seconds in restart(one, site))] for one in spegels]
        for one in spegels:
            for here, there, store in ((near, far, near_store), (far, near, far_store)):
                process = one.start(here, there, store, directory)
                stack.callback(process.stop)
                site.spegels.setdefault(one.name, []).append(process)
            ready(one, near, site.spegels[one.name][0], image)
        far_nginx = stack.enter_context(file_server(far, far_store, directory / "files"))
        address = f"{far.addresses[0]}:{NGINX_PORT}"
        near_nginx = stack.enter_context(proxies(near, address, directory / "proxies"))
        for process, server in ((far_nginx, address), (near_nginx, f"{near.addresses[0]}:{BUFFERED_PORT}")):
            wait_for(near, process, server, f"/v2/library/big/manifests/{image.manifest}")
        text = measure(site, spegels, far_nginx, near_nginx)
    table = markdown_table(["", "start to first answer", "SIGTERM to first answer"], starts)
    text += f"\n\nSeconds of a start and of a restart:\n\n{table}"
    if arguments.write:
        write_section("daemon", text)
    else:
        print(text)
