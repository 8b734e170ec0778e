"""Clusters of whole daemons, this one or upstream Spegel, each on a machine of its own with containerd."""

from __future__ import annotations

import contextlib
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cluster.daemon_process import lay_out
from benchmarks.nodes.machines import Machine, Running, wait_for
from benchmarks.nodes.programs import Containerd, Spegel, containerd, import_archive
from daemon.kademlia.parameters import K
from daemon.kademlia.provide import RENEWAL
from tests.interop.namespaces import machines

_KEYS = 132
"""Of each node: twelve images of eight layers."""
_MEMORY = "/dev/shm"  # a file system that makes nobody wait for a disk
_PAUSE = 5.0
"""Seconds between two looks at what all daemons do."""
_IDLE = 0.2
"""The part of one processor that daemons take, all together, which have nothing to do."""
_PATIENCE = 60.0
_NEIGHBOURS = Path("/proc/sys/net/ipv4/neigh/default/gc_thresh3")
"""How many machines all machines together may have as neighbours; each of fifty has all others."""


@dataclass(frozen=True)
class Place:
    """A machine with a containerd whose images no other has."""

    machine: Machine
    store: Containerd
    manifests: Sequence[str]
    """Digests."""


@contextlib.contextmanager
def places(count: int) -> Iterator[list[Place]]:
    """Make places for so many daemons."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=_MEMORY)))
        made = []
        stack.enter_context(_room_for_neighbours(count**2))
        for number, host in enumerate(stack.enter_context(machines(count, 4))):
            store = stack.enter_context(containerd(directory / f"containerd-{number}"))
            layout, archive = directory / f"layout-{number}", directory / f"{number}.tar"
            layout.mkdir()
            manifests = lay_out(layout, _KEYS, number * _KEYS)
            with tarfile.open(archive, "w") as tar:
                tar.add(layout, arcname=".")
            import_archive(store, archive)
            made.append(Place(Machine(host.namespace, (str(host.ip),) * 2), store, manifests))
        yield made


@contextlib.contextmanager
def _room_for_neighbours(count: int) -> Iterator[None]:
    before = int(_NEIGHBOURS.read_text())
    _NEIGHBOURS.write_text(f"{max(before, 2 * count)}")
    try:
        yield
    finally:
        _NEIGHBOURS.write_text(f"{before}")


@contextlib.contextmanager
def cluster(program: Spegel, places: Sequence[Place]) -> Iterator[list[Running]]:
    """Run a daemon at each place, until they have nothing more to do.

    All begin with the first one: where each begins with another one, upstream's clusters come apart when all
    start at once.
    """
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        running = []
        for number, place in enumerate(places):
            other = places[0 if number else -1].machine
            running.append(program.start(place.machine, other, place.store, directory))
            stack.callback(running[-1].stop)
        for place, process in zip(places, running, strict=True):
            wait_for(place.machine, process, program.address(place.machine), "/readyz")
        _settle(running)
        yield running


def _settle(running: Sequence[Running]) -> None:
    if len(running) > K:
        time.sleep(RENEWAL)  # what was provided while few were known is provided again
    deadline, before = time.monotonic() + _PATIENCE, 0.0
    while time.monotonic() < deadline:
        now = cpu(running)
        if now - before < _IDLE * _PAUSE:
            return
        before = now
        time.sleep(_PAUSE)
    raise RuntimeError(f"the daemons do not come to rest within {_PATIENCE:g} s")


def cpu(running: Sequence[Running]) -> float:
    """Return the processor seconds that all have taken so far."""
    return sum(process.cpu() for process in running)
