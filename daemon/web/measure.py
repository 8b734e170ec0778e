"""Measures the pull of an image: finds its peers, then reads all of it through this node's own registry."""

from __future__ import annotations

import asyncio
import platform
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from daemon.http.client import Answer, ClientError, get
from daemon.mirror.history import History
from daemon.oci.descriptor import MANIFEST_MEDIA_TYPES
from daemon.oci.manifest import MAX_MANIFEST_SIZE, NotAManifestError, children, load
from daemon.oci.reference import InvalidReferenceError, Reference, is_registry, parse_reference
from daemon.routing.base import Router
from daemon.web.measurement import Lookup, Measurement, Pull

LIMIT = 50.0
"""Seconds for all of it; the answer to the browser has to come within a minute."""
_LOOKUP_LIMIT = 3.0
_PEERS = 20
_MAX_PULLS = 256
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}
_HERE = "this node"


class BusyError(Exception):
    """A measurement is under way."""


@dataclass(slots=True)
class _Step:
    """Content that is to be read."""

    kind: str
    """``manifests`` or ``blobs``."""
    reference: str


class Meter:
    """Measures one image at a time."""

    def __init__(
        self, router: Router, history: History, address: tuple[str, int], authorization: str | None
    ) -> None:
        """Take what it works with.

        Args:
            router: finds the peers.
            history: tells which peers content came from.
            address: host and port of this node's registry.
            authorization: the Authorization field that the registry wants, if it wants one.
        """
        self._router = router
        self._history = history
        self._address = address
        self._headers = {"Accept": ", ".join([*sorted(MANIFEST_MEDIA_TYPES), "*/*"])}
        if authorization is not None:
            self._headers["Authorization"] = authorization
        self._busy = False

    async def measure(self, image: str) -> Measurement:
        """Measure an image by its name, which may be short: ``alpine``.

        Raises:
            InvalidReferenceError: it is no image's name.
            BusyError: another measurement is under way.
        """
        reference = complete(image)
        if self._busy:
            raise BusyError("another measurement is under way, try again in a minute")
        self._busy = True
        try:
            return await self._measure(reference)
        finally:
            self._busy = False

    async def _measure(self, reference: Reference) -> Measurement:
        lookups: list[Lookup] = []
        pulls: list[Pull] = []
        problem = None
        started = time.time()
        try:
            async with asyncio.timeout(LIMIT):
                await self._look_up(reference.digest or reference.tag_name or "", lookups)
                await self._pull(reference, pulls)
        except TimeoutError:
            problem = f"stopped after {LIMIT:.0f} s, the rest was not read"
        except (ClientError, NotAManifestError) as error:
            problem = str(error)
        await _settle()
        sourced = (replace(pull, source=self._source(pull.reference, started)) for pull in pulls)
        return Measurement(tuple(lookups), tuple(sourced), problem)

    async def _look_up(self, key: str, found: list[Lookup]) -> None:
        clock = asyncio.get_running_loop()
        started = clock.time()
        try:
            async with asyncio.timeout(_LOOKUP_LIMIT):
                async for peer in self._router.lookup(key, _PEERS):
                    addresses = tuple(map(str, peer.addresses))
                    found.append(Lookup(peer.id, addresses, clock.time() - started))
        except TimeoutError:
            return

    async def _pull(self, image: Reference, done: list[Pull]) -> None:
        queue = deque([_Step("manifests", image.digest or image.tag or "")])
        seen: set[str] = set()
        while queue:
            step = queue.popleft()
            if step.reference in seen:
                continue
            if len(seen) == _MAX_PULLS:
                raise ClientError(f"the image has more than {_MAX_PULLS} parts, the rest was not read")
            seen.add(step.reference)
            queue.extend(await self._read(image, step, done))

    async def _read(self, image: Reference, step: _Step, done: list[Pull]) -> list[_Step]:
        """Read one piece of content; return what it names."""
        target = (
            f"/v2/{quote(image.repository)}/{step.kind}/{step.reference}?ns={quote(image.registry, safe='')}"
        )
        clock = asyncio.get_running_loop()
        started = clock.time()
        data = b""
        async with get(*self._address, target, self._headers) as answer:
            if answer.status != 200:
                raise ClientError(f"{step.reference}: the registry answers {answer.status}")
            if step.kind == "manifests":
                data = await answer.read(MAX_MANIFEST_SIZE)
                size = len(data)
            else:
                size = await answer.discard()
            seconds = clock.time() - started
            done.append(Pull(step.reference, _media_type(answer), size, seconds, _HERE))
        return list(_next_steps(data)) if step.kind == "manifests" else []

    def _source(self, reference: str, since: float) -> str:
        """Return who sent content, by the mirror's own record of it."""
        for record in self._history:
            if record.reference == reference and record.time >= since and record.peers:
                return ", ".join(record.peers)
        return _HERE


async def _settle() -> None:
    """Let the registry, on the same event loop, note the end of what was read to its last byte here."""
    for _ in range(20):
        await asyncio.sleep(0)


def complete(image: str) -> Reference:
    """Read an image's name as Docker does: ``alpine`` is ``docker.io/library/alpine:latest``.

    Raises:
        InvalidReferenceError: it is no image's name.
    """
    name = image.strip()
    first, slash, rest = name.partition("/")
    if not slash:
        name = f"docker.io/library/{name}"
    elif not is_registry(first):
        name = f"docker.io/{name}"
    elif first == "docker.io" and "/" not in rest:
        name = f"docker.io/library/{rest}"
    if "@" not in name and ":" not in name.rpartition("/")[2]:
        name = f"{name}:latest"
    try:
        return parse_reference(name)
    except InvalidReferenceError as error:
        raise InvalidReferenceError(f"{image[:300]!r} is no image's name: {error}") from error


def _next_steps(data: bytes) -> Iterable[_Step]:
    document = load(data)
    named = children(data)
    if named.manifests:
        chosen = _for_this_machine(document.get("manifests")) or named.manifests[0]
        return [_Step("manifests", chosen)]
    return [_Step("blobs", blob) for blob in named.blobs]


def _for_this_machine(entries: object) -> str | None:
    architecture = _ARCHITECTURES.get(platform.machine(), platform.machine())
    wanted: dict[str, Any] = {"os": "linux", "architecture": architecture}
    for entry in entries if isinstance(entries, list) else ():
        found = entry.get("platform") if isinstance(entry, dict) else None
        if isinstance(found, dict) and wanted.items() <= found.items():
            return str(entry.get("digest"))
    return None


def _media_type(answer: Answer) -> str:
    return answer.headers.get("content-type", "")
