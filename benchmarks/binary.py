"""What the binary costs: its size, and its starts in a memory cgroup that allows it MemoryHigh and no more.

``python -m benchmarks binary [--quick] [--write]`` starts ``dist/spegel`` until it says READY=1, as systemd
would: for the first time, after a reboot (unpacked, nothing in memory), and once more; beside it the sources.
Needs root, and a ``./toxw -e binary`` before.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import gzip
import os
import socket
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import machine, markdown_table, write_section

ROOT = Path(__file__).parent.parent
PROGRAM = ROOT / "dist" / "spegel"
SOURCES = (sys.executable, "-m", "daemon")
MEMORY_HIGH = 80 * 2**20
LIMIT = 60.0
MB = 10**6


@dataclass(frozen=True)
class Figures:
    """Of one start, until it is ready."""

    seconds: float
    cpu: float
    rss: int
    charged: int
    """The most that the cgroup was charged, page cache included."""
    reclaims: int
    """How often the limit was met."""


class Cgroup:
    """A memory cgroup, of version 1 or 2."""

    def __init__(self, limit: int) -> None:
        """Make one with a limit in bytes."""
        first = Path("/sys/fs/cgroup/memory")
        self._is_first = (first / "memory.limit_in_bytes").exists()
        root = first if self._is_first else Path("/sys/fs/cgroup")
        self.directory = Path(tempfile.mkdtemp(prefix="spegel-benchmark-", dir=root))
        name = "memory.limit_in_bytes" if self._is_first else "memory.max"
        (self.directory / name).write_text(str(limit))

    def peak(self) -> int:
        """Return the most that was charged, in bytes."""
        name = "memory.max_usage_in_bytes" if self._is_first else "memory.peak"
        return int((self.directory / name).read_text())

    def reclaims(self) -> int:
        """Return how often the limit was met."""
        if self._is_first:
            return int((self.directory / "memory.failcnt").read_text())
        lines = (self.directory / "memory.events").read_text().splitlines()
        return {name: int(count) for name, count in map(str.split, lines)}["max"]


@contextlib.contextmanager
def cgroup() -> Iterator[Cgroup]:
    """Have a cgroup for a while."""
    group = Cgroup(MEMORY_HIGH)
    try:
        yield group
    finally:
        group.directory.rmdir()


def start(command: Sequence[str], directory: Path) -> Figures:
    """Start the daemon by a command, wait until it is ready, end it."""
    (directory / "notify").unlink(missing_ok=True)
    flags = ["registry", "--bootstrap-kind=static", f"--oci-layout={directory / 'layout'}"]
    flags += [f"--{name}-addr=127.0.0.1:0" for name in ("registry", "router", "metrics")]
    with cgroup() as group, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(directory / "notify"))
        notify.settimeout(LIMIT)
        enter = ["/bin/sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(group.directory)]
        environment = {
            "SPEGEL_UNPACK_DIR": str(directory / "program"),
            "NOTIFY_SOCKET": str(directory / "notify"),
            "PYTHONPATH": str(ROOT),
        }
        started = time.monotonic()
        process = subprocess.Popen([*enter, *command, *flags], env=environment, stderr=subprocess.DEVNULL)
        try:
            while b"READY=1" not in notify.recv(4096):
                pass
            seconds = time.monotonic() - started
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            status = Path(f"/proc/{process.pid}/status").read_text()
            rss = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
            return Figures(seconds, cpu, rss * 1024, group.peak(), group.reclaims())
        finally:
            process.terminate()
            process.wait(LIMIT)


def forget(*places: Path) -> None:
    """Have the kernel drop files from memory, as after a reboot."""
    for place in places:
        for path in (place, *place.rglob("*")):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def first(directory: Path) -> None:
    """Have nothing unpacked, and nothing in memory."""
    subprocess.run(["rm", "-rf", directory / "program"], check=True)
    forget(PROGRAM)


def rebooted(directory: Path) -> None:
    """Have nothing in memory."""
    forget(PROGRAM, directory / "program")


def again(directory: Path) -> None:
    """Leave all as it is."""


def sources_rebooted(_: Path) -> None:
    """Have nothing of Python in memory but what other processes use."""
    forget(ROOT / "daemon", *(Path(sysconfig.get_path(name)) for name in ("stdlib", "platlib")))


SITUATIONS: tuple[tuple[str, Sequence[str], Callable[[Path], None]], ...] = (
    ("the first one", (str(PROGRAM),), first),
    ("after a reboot", (str(PROGRAM),), rebooted),
    ("once more", (str(PROGRAM),), again),
    ("sources, after a reboot", SOURCES, sources_rebooted),
    ("sources, once more", SOURCES, again),
)


def measure(repetitions: int) -> str:
    """Return the tables."""
    # On a disk, as on a node: what is on a tmpfs is memory.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        directory = Path(name)
        (directory / "layout" / "blobs" / "sha256").mkdir(parents=True)
        (directory / "layout" / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        (directory / "layout" / "index.json").write_text('{"schemaVersion":2,"manifests":[]}')
        rows = []
        compileall.compile_dir(ROOT / "daemon", quiet=2)
        for situation, command, prepare in SITUATIONS:
            figures = []
            for _ in range(repetitions):
                prepare(directory)
                figures.append(start(command, directory))
            rows.append([situation, *_row(figures)])
        unpacked = [path.stat().st_size for path in (directory / "program").rglob("*") if path.is_file()]
    content = PROGRAM.read_bytes()
    layer = len(gzip.compress(content))
    sizes = (
        f"The file has {len(content) / MB:.1f} MB, as a layer of an image {layer / MB:.1f} MB; "
        f"unpacked, {sum(unpacked) / MB:.1f} MB in {len(unpacked)} files."
    )
    header = ["start", "ready s, median", "least", "CPU s", "RSS MB", "charged MB", "limit met"]
    return f"{machine()}\n\n{sizes}\n\n{markdown_table(header, rows)}"


def _row(figures: list[Figures]) -> list[str]:
    return [
        f"{statistics.median(each.seconds for each in figures):.2f}",
        f"{min(each.seconds for each in figures):.2f}",
        f"{statistics.median(each.cpu for each in figures):.2f}",
        f"{max(each.rss for each in figures) / MB:.1f}",
        f"{max(each.charged for each in figures) / MB:.1f}",
        f"{max(each.reclaims for each in figures)}",
    ]


def main() -> None:
    """Run with the command line's options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks binary", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repetitions, for a try")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    options = parser.parse_args()
    if not PROGRAM.exists():
        sys.exit(f"{PROGRAM} is not there: ./toxw -e binary builds it")
    text = measure(2 if options.quick else 9)
    print(text)
    if options.write:
        write_section("binary", text)


if __name__ == "__main__":
    main()
