"""The memory that the daemon's unit allows it is enough: it stays below MemoryHigh=80M, in a real cgroup."""

from __future__ import annotations

import compileall
import contextlib
import hashlib
import http.client
import io
import os
import tarfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from daemon.oci.descriptor import OCI_INDEX, OCI_MANIFEST
from daemon.oci.digest import Digest
from daemon.oci.manifest import OCI_CONFIG
from tests.daemon.cli.program import LIMIT, ROOT, Program, command, running_command
from tests.daemon.clients.programs import run
from tests.daemon.containerd import Containerd, require_containerd
from tests.daemon.images import LAYER as LAYER_TYPE
from tests.daemon.images import TestImage, encode, make_image
from tests.daemon.layouts import lay_out
from tests.daemon.memory.cgroup import Cgroup, entering, memory_cgroup
from tests.daemon.memory.downloads import Download, at
from tests.interop.namespaces import Machine, machines, require_namespaces

pytestmark = pytest.mark.root

MB = 10**6
MEMORY_HIGH, MEMORY_MAX = 80 * 2**20, 100 * 2**20
RSS_AFTER_START = 55 * MB
RSS_UNDER_LOAD = 80 * MB

IMAGES = 500
DIGESTS_OF_AN_IMAGE = 6
LAYER = 24 * 2**20
HUGE = "sha256:" + "a" * 64
HUGE_SIZE = int(os.environ.get("LOAD_GB", "1")) * 1000**3
"""``./toxw -e load`` makes it 10 GB."""
LARGE = "sha256:" + "b" * 64
TRANSFERS = 64
LARGE_IMAGE = make_image(IMAGES, large=LAYER)


@pytest.fixture
def containerd(tmp_path: Path) -> Iterator[Containerd]:
    """containerd with 500 small images, and one with a large layer."""
    require_containerd()
    images = {f"docker.io/library/app-{number}:1": make_image(number, layers=3) for number in range(IMAGES)}
    images["docker.io/library/app:1"] = LARGE_IMAGE
    with tmpfs(tmp_path / "containerd") as directory:  # on a disk, to write them takes a minute
        containerd = Containerd(directory)
        try:
            containerd.start()
            flags = ("--no-unpack", "--platform", "linux/amd64")
            containerd.ctr("images", "import", *flags, "-", stdin=archive(images))
            yield containerd
        finally:
            containerd.stop()


@contextlib.contextmanager
def tmpfs(directory: Path) -> Iterator[Path]:
    directory.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=512m", "spegel-test", directory)
    try:
        yield directory
    finally:
        run("umount", directory)


def archive(images: dict[str, TestImage]) -> bytes:
    """Return images as the archive that ``ctr images import`` takes."""
    descriptors = [image.descriptor(name) for name, image in images.items()]
    files = {
        f"blobs/{digest.replace(':', '/')}": data
        for image in images.values()
        for digest, data in image.blobs.items()
    }
    files["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
    files["index.json"] = encode({"schemaVersion": 2, "manifests": descriptors})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as target:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            target.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def lay_out_sparse(layout: Path) -> None:
    """Write an image whose layers are full of zeros, take no room, and are not what their digests say."""
    layers = {HUGE: HUGE_SIZE, LARGE: LAYER}
    blobs: dict[Digest, bytes] = {}

    def add(document: object) -> dict[str, Any]:
        data = encode(document)
        digest = Digest(f"sha256:{hashlib.sha256(data).hexdigest()}")
        blobs[digest] = data
        return {"digest": digest, "size": len(data)}

    config = {"mediaType": OCI_CONFIG, **add({})}
    descriptors = [
        {"mediaType": LAYER_TYPE, "digest": digest, "size": size} for digest, size in layers.items()
    ]
    manifest = {"mediaType": OCI_MANIFEST, **add({"config": config, "layers": descriptors})}
    index = add({"mediaType": OCI_INDEX, "manifests": [manifest]})
    image = TestImage(index["digest"], manifest["digest"], config["digest"], (), blobs)
    lay_out(layout, {"docker.io/library/huge:1": image})
    for digest, size in layers.items():
        with (layout / "blobs" / digest.replace(":", "/")).open("wb") as file:
            file.truncate(size)


@dataclass(frozen=True)
class Subject:
    """A daemon in a cgroup."""

    machine: Machine
    process: Program
    cgroup: Cgroup

    def rss(self, field: str = "VmRSS") -> int:
        """Return what the kernel says, now (VmRSS) or at most so far (VmHWM), in bytes."""
        return sum(_resident(process, field) for process in self.cgroup.processes())

    def advertised(self) -> int:
        """Return how many digests it advertises."""
        text = at(
            self.machine, lambda: urllib.request.urlopen("http://127.0.0.1:9090/metrics").read()
        ).decode()
        return sum(
            round(float(line.split()[1]))
            for line in text.splitlines()
            if line.startswith(("spegel_advertised_image_digests{", "spegel_advertised_content_digests{"))
        )


def _resident(process: int, field: str) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(field))


@contextlib.contextmanager
def subject(machine: Machine, other: Machine, *flags: str) -> Iterator[Subject]:
    """Run a daemon on a machine, in a cgroup of its own, that begins with the one on the other machine."""
    bootstrap = (
        f"--http-bootstrap-url=http://{other.host}:5090/id",
        "--http-bootstrap-addr=:5090",
        "--router-addr=:5001",
    )
    program = command("registry", "--bootstrap-kind=http", *bootstrap, *flags)
    with (
        memory_cgroup(MEMORY_MAX) as cgroup,
        running_command(entering(cgroup, *machine.command(*program))) as process,
    ):
        process.wait_for_log("listening")
        yield Subject(machine, process, cgroup)


@pytest.fixture
def cluster() -> Iterator[list[Machine]]:
    """Two machines."""
    require_namespaces()
    # As where it is installed: with its bytecode beside the sources.
    compileall.compile_dir(ROOT / "daemon", quiet=2)
    with machines(2, 4) as cluster:
        yield cluster


@pytest.fixture
def giver(tmp_path: Path, cluster: list[Machine]) -> Iterator[Subject]:
    """A daemon that has the huge blob and another one, on a disk."""
    lay_out_sparse(tmp_path / "layout")
    with subject(*cluster, f"--oci-layout={tmp_path / 'layout'}") as giver:
        yield giver


@pytest.fixture
def taker(containerd: Containerd, cluster: list[Machine]) -> Iterator[Subject]:
    """A daemon beside containerd that relays what the other one has."""
    store = f"--containerd-sock={containerd.socket}", f"--containerd-content-path={containerd.content}"
    with subject(*reversed(cluster), "--mirror-resolve-timeout=1s", *store) as taker:
        yield taker


def test_nodes_keep_within_their_memory(
    giver: Subject, taker: Subject, capsys: pytest.CaptureFixture[str]
) -> None:
    report: list[str] = []
    after_start = taker.rss()
    report.append(f"RSS after start {after_start / MB:.1f} MB")
    deadline = time.monotonic() + LIMIT
    while (advertised := taker.advertised()) < IMAGES * DIGESTS_OF_AN_IMAGE:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    at(taker.machine, lambda: wait_for(HUGE))
    report.append(f"with {advertised} digests {taker.rss() / MB:.1f} MB")

    size = f"{HUGE_SIZE / 1e9:.0f} GB"
    for name, load in (("64 transfers", transfers), (f"{size} past slow ones", huge_transfer)):
        started = time.monotonic()
        load(taker)
        report.append(f"{name} {time.monotonic() - started:.0f} s")

    for name, node in (("taker", taker), ("giver", giver)):
        peak, kills = node.rss("VmHWM"), node.cgroup.oom_kills()
        sockets, kernel = node.cgroup.sockets_peak(), node.cgroup.kernel_peak()
        report.append(
            f"{name}: RSS at most {peak / MB:.1f} MB, sockets at most {sockets / MB:.1f} MB, kernel at most "
            f"{kernel / MB:.1f} MB; with page cache the cgroup had {node.cgroup.peak() / MB:.1f} MB and met "
            f"its limit {node.cgroup.refusals()} times, {kills} kills"
        )
        assert kills == 0, report
        assert peak < RSS_UNDER_LOAD, report
        # Page cache goes when memory is short; all else must fit in, even if the maxima of all three had met.
        assert peak + sockets + kernel < MEMORY_HIGH, report
        assert node.process.terminate() == 0
    assert after_start < RSS_AFTER_START, report
    with capsys.disabled():
        print("", *report, sep="\n  ", end="")  # noqa: T201  # for whoever reads the log


def transfers(daemon: Subject) -> None:
    """Have 64 transfers at once, half of them from the store."""
    fast = threading.Event()
    fast.set()
    finish(start(daemon, fast, TRANSFERS))


def huge_transfer(daemon: Subject) -> None:
    """Have 63 slow transfers, and the huge one past them."""
    fast, slow = threading.Event(), threading.Event()
    fast.set()
    downloads = start(daemon, slow, TRANSFERS - 1)
    for download in downloads:
        assert download.under_way.wait(LIMIT)
    huge = Download(daemon.machine, HUGE, fast)
    huge.start()
    assert huge.finish() == HUGE_SIZE
    assert all(download.is_alive() for download in downloads), "none of them was to end before"
    slow.set()
    finish(downloads)


def wait_for(digest: str) -> None:
    """Wait until a machine's daemon knows who has content."""
    deadline = time.monotonic() + LIMIT
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1:5000", timeout=LIMIT)) as connection:
        while True:
            connection.request("HEAD", f"/v2/library/huge/blobs/{digest}")
            response = connection.getresponse()
            response.read()
            if response.status == 200:
                return
            assert time.monotonic() < deadline, response.status
            time.sleep(0.1)


def start(daemon: Subject, hurry: threading.Event, count: int) -> list[Download]:
    digests = [LARGE_IMAGE.layers[-1], LARGE] * count
    downloads = [Download(daemon.machine, digest, hurry) for digest in digests[:count]]
    for download in downloads:
        download.start()
    return downloads


def finish(downloads: list[Download]) -> None:
    for download in downloads:
        assert download.finish() >= LAYER
