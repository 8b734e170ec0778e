"""Pulls an image as containerd does: a node's hosts.toml says whom to ask, its own cache first of all."""

from __future__ import annotations

import asyncio
import json
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from demo.errors import DemoError
from demo.image import MANIFEST
from demo.layout import Layout

_AT_ONCE = 3
"""Blobs; containerd's max_concurrent_downloads."""
_CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Reference:
    """Which image."""

    registry: str
    repository: str
    tag: str

    def __str__(self) -> str:
        return f"{self.registry}/{self.repository}:{self.tag}"


@dataclass(frozen=True, slots=True)
class Host:
    """Whom to ask."""

    url: str
    capabilities: frozenset[str]
    namespace: str | None
    """What a cache has to know besides: the registry that the image is named after."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the image."""

    name: str
    """As people call it: ``manifest``, ``config``, ``layer 1``."""
    digest: str
    size: int

    @property
    def path(self) -> str:
        """Where a registry has it, below its repository."""
        return f"{'manifests' if self.name == 'manifest' else 'blobs'}/{self.digest}"


@dataclass(frozen=True, slots=True)
class Fetched:
    """How a part was got."""

    part: Part
    host: Host
    seconds: float


class Watch(Protocol):
    """Is told how a pull goes on."""

    def begins(self, part: Part) -> None:
        """A part is asked for."""

    def moves(self, part: Part, size: int) -> None:
        """So many bytes of it are there by now."""

    def ends(self, fetched: Fetched) -> None:
        """All of it is there."""


class _NotThereError(Exception):
    """A host does not have it, or does not answer; the message says which."""


class Puller:
    """Pulls for one node."""

    def __init__(self, session: aiohttp.ClientSession, certs_d: Path, layout: Layout) -> None:
        """Pull as a directory of hosts.toml files says, into an image layout."""
        self._session = session
        self._certs_d = certs_d
        self._layout = layout

    async def pull(self, image: Reference, watch: Watch) -> list[Fetched]:
        """Pull an image; return how its parts were got, in the order of the manifest.

        Raises:
            DemoError: something is not to be had.
        """
        hosts = self._hosts(image.registry)
        digest, size = await self._resolve(image, hosts)
        manifest = Part("manifest", digest, size)
        got = [await self._fetch(image, hosts, manifest, watch)]
        content = json.loads(self._layout.read(digest))
        turns = asyncio.Semaphore(_AT_ONCE)

        async def fetch(part: Part) -> Fetched:
            async with turns:
                return await self._fetch(image, hosts, part, watch)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(fetch(part)) for part in _parts(content)]
        except* DemoError as failed:
            raise failed.exceptions[0] from None
        self._layout.tag(str(image), {"mediaType": content["mediaType"], "digest": digest, "size": size})
        return [*got, *(task.result() for task in tasks)]

    def _hosts(self, registry: str) -> list[Host]:
        files = (self._certs_d / directory / "hosts.toml" for directory in (registry, "_default"))
        file = next((file for file in files if file.exists()), None)
        entries = tomllib.loads(file.read_text())["host"] if file else {}
        caches = [Host(url, frozenset(entry["capabilities"]), registry) for url, entry in entries.items()]
        return [*caches, Host(f"http://{registry}", frozenset({"pull", "resolve"}), None)]

    async def _resolve(self, image: Reference, hosts: list[Host]) -> tuple[str, int]:
        """Return digest and size of what a tag stands for."""
        failures = []
        for host in hosts:
            if "resolve" in host.capabilities:
                try:
                    async with self._request("HEAD", host, image, f"manifests/{image.tag}") as answer:
                        _expect(answer, host)
                        return answer.headers["Docker-Content-Digest"], int(answer.headers["Content-Length"])
                except (OSError, aiohttp.ClientError, _NotThereError) as error:
                    failures.append(str(error))
        raise DemoError(f"{image} is not to be had: {'; '.join(failures)}")

    async def _fetch(self, image: Reference, hosts: list[Host], part: Part, watch: Watch) -> Fetched:
        watch.begins(part)
        failures = []
        for host in hosts:
            started = time.perf_counter()
            try:
                async with self._request("GET", host, image, part.path) as answer:
                    _expect(answer, host)
                    with self._layout.writing(part.digest) as writer:
                        size = 0
                        async for chunk in answer.content.iter_chunked(_CHUNK):
                            writer.write(chunk)
                            size += len(chunk)
                            watch.moves(part, size)
            except (OSError, aiohttp.ClientError, _NotThereError) as error:
                failures.append(str(error))
                continue
            fetched = Fetched(part, host, time.perf_counter() - started)
            watch.ends(fetched)
            return fetched
        raise DemoError(f"the {part.name} of {image} is not to be had: {'; '.join(failures)}")

    def _request(
        self, method: str, host: Host, image: Reference, path: str
    ) -> aiohttp.client._RequestContextManager:
        parameters = {"ns": host.namespace} if host.namespace else {}
        url = f"{host.url}/v2/{image.repository}/{path}"
        return self._session.request(method, url, params=parameters, headers={"Accept": f"{MANIFEST}, */*"})


def _expect(answer: aiohttp.ClientResponse, host: Host) -> None:
    if answer.status != 200:
        raise _NotThereError(f"{host.url} answers {answer.status}")


def _parts(manifest: Mapping[str, Any]) -> Iterator[Part]:
    yield Part("config", manifest["config"]["digest"], manifest["config"]["size"])
    for number, layer in enumerate(manifest["layers"], start=1):
        yield Part(f"layer {number}", layer["digest"], layer["size"])
