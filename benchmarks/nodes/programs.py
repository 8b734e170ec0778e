"""What runs on the nodes: containerd with an image, Spegels of both kinds, nginx."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from benchmarks.nodes.machines import Machine, Running, running, wait_for

_LIMIT = 30.0
"""Seconds until containerd answers."""
_PLUGINS = ("io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.internal.v1.restart")


@dataclass(frozen=True)
class Image:
    """Digests of what clients ask for."""

    manifest: str
    layer: str
    size: int
    """Of the layer, in bytes."""


@dataclass(frozen=True)
class Containerd:
    """A containerd of the benchmark's own."""

    directory: Path

    @property
    def socket(self) -> Path:
        """Its socket."""
        return self.directory / "containerd.sock"

    @property
    def content(self) -> Path:
        """Its content store."""
        return self.directory / "root" / "io.containerd.content.v1.content"


@contextlib.contextmanager
def containerd(directory: Path) -> Iterator[Containerd]:
    """Run containerd."""
    directory.mkdir()
    it = Containerd(directory)
    configuration = directory / "config.toml"
    configuration.write_text(
        f'version = 2\nroot = "{directory}/root"\nstate = "{directory}/state"\n'
        f"disabled_plugins = {json.dumps(_PLUGINS)}\n"
        f'[grpc]\naddress = "{it.socket}"\n[ttrpc]\naddress = "{it.socket}.ttrpc"\n'
    )
    with running(["containerd", "--config", str(configuration)], directory / "log") as process:
        deadline = time.monotonic() + _LIMIT
        while subprocess.run(_ctr(it, "version"), check=False, capture_output=True).returncode:
            process.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"containerd does not answer within {_LIMIT:g} s; see {directory}/log")
            time.sleep(0.05)
        yield it


def _ctr(it: Containerd, *arguments: str) -> list[str]:
    return ["ctr", "--address", str(it.socket), "--namespace", "k8s.io", *arguments]


def import_archive(it: Containerd, archive: Path) -> None:
    """Have the images of an archive in the OCI layout in containerd."""
    options = ("--no-unpack", "--all-platforms")
    subprocess.run(_ctr(it, "images", "import", *options, str(archive)), check=True, capture_output=True)


def import_image(it: Containerd, name: str, size: int) -> Image:
    """Make an image whose layer has about that many bytes, none of them worth to be compressed."""
    archive = it.directory / "image.tar"
    with archive.open("wb") as file:
        image = _write(file, name, size)
    import_archive(it, archive)
    archive.unlink()
    for digest in (image.manifest, image.layer):
        label = "containerd.io/distribution.source.docker.io=library/big"
        subprocess.run(_ctr(it, "content", "label", digest, label), check=True, capture_output=True)
    return image


def _write(file: BinaryIO, name: str, size: int) -> Image:
    """Write the archive of an image in the OCI layout."""
    block = os.urandom(2**20)
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as empty:
        entry = tarfile.TarInfo("file")
        entry.size = 0
        empty.addfile(entry)
    start, end = inner.getvalue()[:512], bytes(10240)
    layer = [start, *[block] * (size // len(block)), end]  # what follows the one entry is of no interest
    digest = hashlib.sha256()
    for part in layer:
        digest.update(part)
    layer_digest, layer_size = f"sha256:{digest.hexdigest()}", sum(map(len, layer))
    with tarfile.open(fileobj=file, mode="w") as archive:

        def add(path: str, data: bytes) -> None:
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))

        def blob(document: object) -> dict[str, object]:
            data = json.dumps(document).encode()
            hexdigest = hashlib.sha256(data).hexdigest()
            add(f"blobs/sha256/{hexdigest}", data)
            return {"digest": f"sha256:{hexdigest}", "size": len(data)}

        add("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        system = {"architecture": "amd64", "os": "linux"}
        config = blob(system | {"rootfs": {"type": "layers", "diff_ids": [layer_digest]}})
        vendor = "application/vnd.oci.image"
        layer_type, config_type = f"{vendor}.layer.v1.tar", f"{vendor}.config.v1+json"
        manifest_type = f"{vendor}.manifest.v1+json"
        manifest = blob(
            {
                "schemaVersion": 2,
                "mediaType": manifest_type,
                "config": {"mediaType": config_type, **config},
                "layers": [{"mediaType": layer_type, "digest": layer_digest, "size": layer_size}],
            }
        )
        names = {"io.containerd.image.name": name}
        descriptor = {"mediaType": manifest_type, **manifest, "platform": system, "annotations": names}
        add("index.json", json.dumps({"schemaVersion": 2, "manifests": [descriptor]}).encode())
        entry = tarfile.TarInfo(f"blobs/sha256/{digest.hexdigest()}")
        entry.size = layer_size
        archive.addfile(entry, _Parts(layer))
    return Image(str(manifest["digest"]), layer_digest, layer_size)


class _Parts(io.RawIOBase):
    """A file made of parts."""

    def __init__(self, parts: Sequence[bytes]) -> None:
        self._rest = list(reversed(parts))

    def read(self, size: int = -1, /) -> bytes:
        data = bytearray()
        while self._rest and len(data) < size:
            part = self._rest.pop()
            missing = size - len(data)
            data += part[:missing]
            if part[missing:]:
                self._rest.append(part[missing:])
        return bytes(data)


@dataclass(frozen=True)
class Spegel:
    """A program with the command line of Spegel: this project's, or upstream's."""

    name: str
    command: tuple[str, ...]
    place: int
    """Which of its addresses a machine has for it."""

    def start(self, machine: Machine, other: Machine, store: Containerd, directory: Path) -> Running:
        """Start it on a machine, with one on the other machine to begin with."""
        me, peer = machine.addresses[self.place], other.addresses[self.place]
        flags = [
            "registry",
            "--log-level=WARN",
            *("--bootstrap-kind=http", f"--http-bootstrap-addr={me}:5090"),
            f"--http-bootstrap-url=http://{peer}:5090/id",
            *(f"--registry-addr={me}:5000", f"--router-addr={me}:5001", f"--metrics-addr={me}:9090"),
            *(f"--containerd-sock={store.socket}", f"--containerd-content-path={store.content}"),
        ]
        return Running(machine.command(*self.command, *flags), directory / f"{self.name}-{me}.log")

    def address(self, machine: Machine) -> str:
        """Return where its registry is."""
        return f"{machine.addresses[self.place]}:5000"


OURS = Spegel("this daemon", (sys.executable, "-m", "daemon"), 0)


def upstream() -> Spegel | None:
    """Return upstream's program, if SPEGEL_BINARY names one."""
    binary = os.environ.get("SPEGEL_BINARY")
    return Spegel("upstream Spegel", (binary,), 1) if binary else None


NGINX_PORT = 8080
BUFFERED_PORT = 8081
UNBUFFERED_PORT = 8082

_NGINX = """
daemon off; worker_processes 1; pid {directory}/pid; error_log stderr error;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 100000000;
  default_type application/vnd.oci.image.manifest.v1+json;
  client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
  uwsgi_temp_path {directory}; scgi_temp_path {directory};
  {servers}
}}
"""
_FILES = """
  server {{
    listen {port} backlog=1024;
    location ~ ^/v2/.+/(?:blobs|manifests)/sha256:([0-9a-f]+)$ {{ alias {content}/blobs/sha256/$1; }}
  }}
"""
_PROXIES = """
  upstream far {{ server {far}; keepalive 16; }}
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_max_temp_file_size 0;
  proxy_buffer_size 256k; proxy_buffers 16 256k; proxy_busy_buffers_size 512k;
  server {{ listen {buffered}; location / {{ proxy_pass http://far; }} }}
  server {{ listen {unbuffered}; location / {{ proxy_pass http://far; proxy_buffering off; }} }}
"""


@contextlib.contextmanager
def nginx(machine: Machine, servers: str, directory: Path) -> Iterator[Running]:
    """Run nginx with one worker."""
    directory.mkdir()
    directory.chmod(0o755)
    configuration = directory / "nginx.conf"
    user = "user root;"  # whoever runs the benchmark owns the content
    configuration.write_text(user + _NGINX.format(directory=directory, servers=servers))
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    with running(machine.command(program, "-c", configuration), directory / "log") as process:
        yield process


@contextlib.contextmanager
def file_server(machine: Machine, store: Containerd, directory: Path) -> Iterator[Running]:
    """Run nginx on the files of a content store."""
    servers = _FILES.format(port=NGINX_PORT, content=store.content)
    with nginx(machine, servers, directory) as process:
        yield process


@contextlib.contextmanager
def proxies(machine: Machine, far: str, directory: Path) -> Iterator[Running]:
    """Run nginx as a proxy, with and without buffering."""
    servers = _PROXIES.format(far=far, buffered=BUFFERED_PORT, unbuffered=UNBUFFERED_PORT)
    with nginx(machine, servers, directory) as process:
        yield process


def ready(spegel: Spegel, near: Machine, process: Running, image: Image) -> None:
    """Wait until the Spegel on the near machine finds what the other one has."""
    address = spegel.address(near)
    for method, path in (
        ("GET", "/readyz"),
        ("HEAD", f"/v2/library/big/manifests/{image.manifest}?ns=docker.io"),
        ("HEAD", f"/v2/library/big/blobs/{image.layer}?ns=docker.io"),
    ):
        wait_for(near, process, address, path, method)
