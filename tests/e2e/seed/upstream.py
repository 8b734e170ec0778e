"""The registries that images are from: Debian's docker-registry under TLS, with and without credentials.

Three hosts on one machine, and on another a cache for one of them, as the extension registry-cache has it.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from binary.image import lay_out as lay_out_program
from tests.bootstrapper.authority import Authority
from tests.daemon.clients.programs import program, tag
from tests.daemon.images import TestImage
from tests.daemon.layouts import lay_out
from tests.e2e.network import Machine
from tests.e2e.process import wait_until

OPEN, PRIVATE, CACHED = "registry.test", "private.test", "hub.test"
"""Hosts: for everybody, for those with credentials, and one that nodes reach through a cache."""
CACHE_PORT = 5000
USER, PASSWORD = "puller", "p2p-pull"
_HTPASSWD = f"{USER}:$2b$04$L4N9AgDyRs30REju/7u9Cu34KdRlGgnjzCCapJ2ioE50ePDy5xnEy\n"
"""The same password by bcrypt, which docker-registry insists on."""
_LINE = re.compile(r'^(\S+) - \S* ?\[[^]]*\] "(\S+) (\S+) [^"]*" (\d+) (\d+) "[^"]*" "([^"]*)"', re.MULTILINE)
_NODES = "containerd/"
"""How the nodes' requests call their sender."""


@dataclass(frozen=True, slots=True)
class Request:
    """One line of a registry's access log."""

    registry: str
    client: str
    method: str
    path: str
    status: int
    size: int
    agent: str

    @property
    def is_blob(self) -> bool:
        return "/blobs/" in self.path


class Registry:
    """One docker-registry."""

    def __init__(
        self, machine: Machine, host: str, directory: Path, log: Path, configuration: Mapping[str, Any]
    ) -> None:
        self.host = host
        address, _, port = configuration["http"]["addr"].rpartition(":")
        self._address = address or machine.address, int(port)
        self._machine = machine
        self._file = directory / f"{host}.yaml"
        self._log = log
        self._authority = directory / "authority" / "ca.crt"
        self._file.write_text(yaml.safe_dump({"version": 0.1, "log": {"level": "error"}, **configuration}))

    def start(self) -> None:
        environment = {"SSL_CERT_FILE": str(self._authority), "OTEL_TRACES_EXPORTER": "none"}
        command = [program("docker-registry"), "serve", str(self._file)]
        self._process = self._machine.start(command, self._log, environment=environment)

    def wait(self) -> None:
        wait_until(self._answers, self.host)

    def stop(self) -> None:
        self._process.kill()

    def requests(self) -> list[Request]:
        """All requests by containerd so far."""
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return [
            Request(self.host, client, method, path, int(status), int(size), agent)
            for client, method, path, status, size, agent in _LINE.findall(text)
            if agent.startswith(_NODES)
        ]

    def _answers(self) -> bool:
        assert self._process.is_running(), self._process.output()[-4000:]
        try:
            self._machine.call(lambda: socket.create_connection(self._address, 5).close())
        except ConnectionRefusedError:
            return False
        return True


Mark = Mapping[str, int]
"""By host, how many requests there had been at some time."""


class Upstream:
    """All registries."""

    def __init__(self, machine: Machine, cache: Machine, directory: Path, logs: Path) -> None:
        self._machine = machine
        self._directory = directory
        authority = Authority(directory / "authority", "registries")
        self.authority = authority.certificate
        """File with the certificate (PEM) of the authority that nodes trust."""
        self.names = dict(zip((OPEN, PRIVATE, CACHED), machine.addresses, strict=True))
        """Addresses by host."""
        self.cache = f"http://{cache.address}:{CACHE_PORT}"
        """What nodes ask for images of the cached host."""
        (directory / "htpasswd").write_text(_HTPASSWD)
        hosts = directory / "hosts"
        hosts.write_text("".join(f"{address} {name}\n" for name, address in self.names.items()))
        cache.run("mount", "--bind", hosts, "/etc/hosts")
        pair = authority.issue("serverAuth", names=tuple(f"DNS:{name}" for name in self.names))
        tls = {"certificate": str(pair.certificate), "key": str(pair.key)}
        self._registries = [
            Registry(machine, name, directory, logs / f"{name}.log", self._configuration(name, tls))
            for name in self.names
        ]
        proxy = {
            "http": {"addr": f":{CACHE_PORT}", "secret": "cache"},
            "storage": self._storage("cache"),
            "proxy": {"remoteurl": f"https://{CACHED}"},
        }
        self._cache = Registry(cache, "cache", directory, logs / "cache.log", proxy)

    def _configuration(self, name: str, tls: Mapping[str, str]) -> dict[str, Any]:
        configuration = {
            "http": {"addr": f"{self.names[name]}:443", "tls": tls, "secret": name},
            "storage": self._storage(name),
        }
        if name == PRIVATE:
            configuration["auth"] = {"htpasswd": {"realm": name, "path": str(self._directory / "htpasswd")}}
        return configuration

    def _storage(self, name: str) -> dict[str, Any]:
        return {"filesystem": {"rootdirectory": str(self._directory / "storage" / name)}}

    def start(self) -> None:
        """Let all of them answer."""
        for registry in self._registries:
            registry.start()
        for registry in self._registries:
            registry.wait()
        self._cache.start()  # it asks its registry when it starts
        self._cache.wait()

    def stop(self) -> None:
        """Let none of them answer any more: connections are refused."""
        for registry in self._all():
            registry.stop()

    def publish(self, image: TestImage, repository: str = "team/app", registry: str = OPEN) -> str:
        """Publish an image, and return its full name."""
        layout = self._directory / "layouts" / tag(image)
        layout.parent.mkdir(exist_ok=True)
        lay_out(layout, {tag(image): image})
        return self._push(layout, f"{registry}/{repository}:{tag(image)}")

    def publish_program(self, file: Path, repository: str = "gardener/spegel") -> str:
        """Publish the image that the nodes take their program out of, and return its full name."""
        layout = self._directory / "layouts" / "program"
        lay_out_program(file, layout, "v1")
        return self._push(layout, f"{OPEN}/{repository}:v1")

    def _push(self, layout: Path, name: str) -> str:
        host, _, path = name.partition("/")
        target = f"docker://{self.names[host]}:443/{path}"
        command = [program("skopeo"), "--insecure-policy", "copy", "--all", "--preserve-digests", "--quiet"]
        command += ["--dest-tls-verify=false", f"--dest-creds={USER}:{PASSWORD}"]
        self._machine.run(*command, f"oci:{layout}", target, limit=120)
        return name

    def mark(self) -> Mark:
        """Remember what has been asked so far."""
        return {registry.host: len(registry.requests()) for registry in self._all()}

    def requests(self, since: Mark | None = None, client: str | None = None) -> list[Request]:
        """What nodes have asked the registries and the cache, since a mark, from one address or from all."""
        return [request for request in self._since(since or {}) if client in (None, request.client)]

    def _since(self, mark: Mark) -> Iterator[Request]:
        for registry in self._all():
            yield from registry.requests()[mark.get(registry.host, 0) :]

    def _all(self) -> list[Registry]:
        return [*self._registries, self._cache]
