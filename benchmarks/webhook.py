"""What the webhook costs: the pure mutation, and whole admissions over TLS through gunicorn.

``python -m benchmarks webhook [--quick] [--write]`` prints the tables; ``--write`` puts them into
docs/benchmarks.md, with the machine and the day. Clients and server share the machine's cores, so
latencies at many clients are those of the machine, not of the webhook alone.
"""

from __future__ import annotations

import argparse
import base64
import copy
import http.client
import json
import multiprocessing
import random
import ssl
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.report import machine, markdown_table, write_section
from benchmarks.webhook_process import Running, running
from demo.apiserver import ApiServer
from demo.certificates import make
from webhook.mutation import Bootstrap, NodeContext, Ports, Program, mutate

SAMPLES = Path(__file__).parent.parent / "tests" / "samples"
SIZES = {"50 KB": 50_000, "500 KB": 500_000, "2 MB": 2_000_000}
ENTRIES = (1, 10, 50)
CLIENTS = (1, 4, 16)
Oscs = dict[tuple[str, int], dict[str, Any]]
"""By size and number of registries."""
NAMESPACE = "shoot--crazy--botany"
CONTEXT = NodeContext(
    Ports(5000, 5001, 9090),
    resolve_tags=True,
    program=Program("registry.example.com/spegel:v1", "/spegel", 30),
    bootstrap=Bootstrap("https://sp.example.com/bootstrap-nodes", "registry-spegel-bootstrap"),
)


def make_osc(size: int, entries: int) -> dict[str, Any]:
    """Build an OperatingSystemConfig of about ``size`` bytes with registries, as gardenlet writes one.

    Every fifth registry also has a hosts.toml file; the rest of the size is certificate bundles, which
    is what makes real ones large.
    """
    osc: dict[str, Any] = yaml.load((SAMPLES / "osc-provision.yaml").read_text(), yaml.CSafeLoader)
    osc["spec"]["purpose"] = "reconcile"
    osc["spec"]["criConfig"] = {
        "name": "containerd",
        "containerd": {
            "sandboxImage": "registry.example.com/pause:3.10",
            "registries": [
                {
                    "upstream": f"registry-{index}.example.com",
                    "server": f"https://registry-{index}.example.com",
                    "hosts": [{"url": f"http://100.64.0.{index}:5000", "capabilities": ["pull", "resolve"]}],
                    "readinessProbe": True,
                }
                for index in range(entries)
            ],
        },
    }
    hosts = b'server = "https://m.example.com"\n\n[host."https://m.example.com"]\n  capabilities = ["pull"]\n'
    osc["spec"]["files"] += [
        _file(f"/etc/containerd/certs.d/registry-{index}.example.com/hosts.toml", hosts)
        for index in range(0, entries, 5)
    ]
    random_bytes = random.Random(size)
    bundle = 0
    while (missing := size - len(json.dumps(osc))) > 200:
        data = random_bytes.randbytes(min(120_000, missing * 3 // 4 - 60))
        osc["spec"]["files"].append(_file(f"/var/lib/ca-certificates-local/bundle-{bundle}.crt", data))
        bundle += 1
    return osc


def _file(path: str, data: bytes) -> dict[str, Any]:
    content = {"inline": {"encoding": "b64", "data": base64.b64encode(data).decode()}}
    return {"path": path, "permissions": 0o644, "content": content}


def pure(osc: dict[str, Any], seconds: float) -> float:
    """Return the median duration of one mutation, in milliseconds."""
    durations = []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        mutate(osc, CONTEXT)
        durations.append(time.perf_counter() - start)
    return statistics.median(durations) * 1000


@dataclass(frozen=True)
class Admissions:
    """What clients saw of a number of admissions."""

    milliseconds: list[float]
    seconds: float

    @property
    def rate(self) -> float:
        """Admissions a second."""
        return len(self.milliseconds) / self.seconds

    def quantile(self, percent: int) -> float:
        """Return a percentile of the durations, in milliseconds."""
        return statistics.quantiles(self.milliseconds, n=100)[percent - 1]


def admit(port: int, ca: Path, body: bytes, clients: int, seconds: float) -> Admissions:
    """Let clients, each a process with one kept connection as the API server has, send admissions in turn."""
    with multiprocessing.get_context("spawn").Pool(clients) as pool:
        pool.map(_nothing, range(clients))  # all processes are there before the clock starts
        start = time.perf_counter()
        shares = pool.starmap(_client, [(port, ca, body, seconds)] * clients, chunksize=1)
        return Admissions([duration for share in shares for duration in share], time.perf_counter() - start)


def _nothing(_: int) -> None:
    """Start a process of the pool."""


def _client(port: int, ca: Path, body: bytes, seconds: float) -> list[float]:
    connection = http.client.HTTPSConnection(
        "127.0.0.1", port, context=ssl.create_default_context(cafile=str(ca)), timeout=30
    )
    durations = []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        connection.request("POST", "/webhooks/registry-spegel", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        durations.append((time.perf_counter() - start) * 1000)
        if answer.status != http.client.OK or b'"allowed":true' not in text.replace(b" ", b""):
            raise RuntimeError(f"the webhook answered {answer.status}: {text[:200]!r}")
    connection.close()
    return durations[2:]  # without the handshake and the first reading of the context


def _objects() -> list[dict[str, Any]]:
    objects = [
        yaml.load((SAMPLES / name).read_text(), yaml.CSafeLoader)
        for name in ("cluster.yaml", "extension.yaml")
    ]
    values = {
        "url": b"https://sp.example.com/bootstrap-nodes",
        "ca.crt": b"x",
        "tls.crt": b"x",
        "tls.key": b"x",
    }
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "registry-spegel-bootstrap", "namespace": NAMESPACE},
        "data": {key: base64.b64encode(value).decode() for key, value in values.items()},
    }
    return [*objects, secret]


def review(osc: dict[str, Any]) -> bytes:
    """Return the AdmissionReview that an API server sends for an OperatingSystemConfig."""
    sample = json.loads((SAMPLES / "admissionreview-create.json").read_text())
    request = copy.deepcopy(sample)
    request["request"]["object"] = osc
    return json.dumps(request).encode()


def memory(pid: int) -> float:
    """Return the resident memory of a process and its children, in MB."""
    total = 0
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for one in (str(pid), *children):
        status = Path(f"/proc/{one}/status").read_text()
        total += next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return total / 1000


def admissions(server: Running, authority: Path, oscs: Oscs, *, quick: bool) -> list[list[str]]:
    """Measure every combination of object and number of clients; returns the rows of the table."""
    rows = []
    for (name, entries), osc in oscs.items():
        if quick and entries != 10:
            continue
        body = review(osc)
        for clients in CLIENTS:
            seen = admit(server.port, authority, body, clients, 1 if quick else 5)
            figures = f"{seen.quantile(50):.1f}", f"{seen.quantile(99):.1f}", f"{seen.rate:.0f}"
            rows.append([name, str(entries), str(clients), *figures, f"{memory(server.pid):.0f}"])
            print(" ".join(rows[-1]), file=sys.stderr, flush=True)
    return rows


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks webhook", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer combinations, shorter runs")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    arguments = parser.parse_args()

    oscs = {(name, entries): make_osc(size, entries) for name, size in SIZES.items() for entries in ENTRIES}
    pure_rows = [
        [name, *(f"{pure(oscs[name, entries], seconds=1):.2f}" for entries in ENTRIES)] for name in SIZES
    ]
    pure_table = markdown_table(["size", *(f"{entries} registries" for entries in ENTRIES)], pure_rows)

    with tempfile.TemporaryDirectory() as path, ApiServer(*_objects()) as api:
        directory = Path(path)
        certificates = make(directory)
        kubeconfig = api.write_kubeconfig(directory / "kubeconfig")
        with running(certificates, kubeconfig, directory) as server:
            rows = admissions(server, certificates.authority, oscs, quick=arguments.quick)
    header = ["size", "registries", "clients", "p50 ms", "p99 ms", "admissions/s", "memory MB"]
    text = f"""\
{machine()}

Pure mutation, median in milliseconds:

{pure_table}

Admissions:

{markdown_table(header, rows)}"""
    if arguments.write:
        write_section("webhook", text)
    else:
        print(text)
