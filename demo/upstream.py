"""The registry that images come from, in small: it serves one image and counts what is asked of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from aiohttp import web

from demo.image import REPOSITORY, TAG, Blob, Image

RATE = 25_000_000
"""Bytes a second for all clients together: registries are far away, and not for one cluster alone."""
_STEP = 64 * 1024


@dataclass(slots=True)
class Seen:
    """What a registry has been asked for."""

    requests: int = 0
    bytes: int = 0
    """Of bodies, as sent."""
    blobs: Counter[str] = field(default_factory=Counter)
    """How often each blob was fetched, by digest."""


class Upstream:
    """Listens on a port of loopback while entered, until it is stopped."""

    def __init__(self, image: Image) -> None:
        """Serve an image."""
        self._manifests = dict.fromkeys((TAG, image.manifest.digest), image.manifest)
        self._blobs = {blob.digest: blob for blob in image.blobs}
        self._seen = Seen()
        self._free = 0.0
        application = web.Application()
        application.router.add_get("/v2/", self._answer_root)
        application.router.add_get(f"/v2/{REPOSITORY}/manifests/{{reference}}", self._answer_manifest)
        application.router.add_get(f"/v2/{REPOSITORY}/blobs/{{reference}}", self._answer_blob)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0)
        self.name = ""
        """As images are named after it, ``127.0.0.1:40123``."""

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port, *_ = self._runner.addresses[0]
        self.name = f"{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Listen no more."""
        await self._runner.cleanup()

    def take(self) -> Seen:
        """Return what was seen since the last time."""
        seen, self._seen = self._seen, Seen()
        return seen

    async def _answer_root(self, _: web.Request) -> web.StreamResponse:
        self._seen.requests += 1
        return web.Response()

    async def _answer_manifest(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, self._manifests.get(request.match_info["reference"]))

    async def _answer_blob(self, request: web.Request) -> web.StreamResponse:
        digest = request.match_info["reference"]
        if request.method == "GET":
            self._seen.blobs[digest] += 1
        return await self._answer(request, self._blobs.get(digest))

    async def _answer(self, request: web.Request, blob: Blob | None) -> web.StreamResponse:
        self._seen.requests += 1
        if blob is None:
            raise web.HTTPNotFound
        headers = {"Content-Type": blob.media_type, "Docker-Content-Digest": blob.digest}
        response = web.StreamResponse(headers=headers)
        response.content_length = len(blob.data)
        await response.prepare(request)
        if request.method == "GET":
            with contextlib.suppress(ConnectionError):  # the client has gone
                await self._send(response, blob.data)
        return response

    async def _send(self, response: web.StreamResponse, data: bytes) -> None:
        for start in range(0, len(data), _STEP):
            step = data[start : start + _STEP]
            await self._turn(len(step))
            await response.write(step)
            self._seen.bytes += len(step)

    async def _turn(self, size: int) -> None:
        """Wait until so many bytes may go out."""
        now = asyncio.get_running_loop().time()
        start = max(now, self._free)
        self._free = start + size / RATE
        await asyncio.sleep(start - now)
