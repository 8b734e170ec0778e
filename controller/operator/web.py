"""What the kubelet and Prometheus ask a replica."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from ipaddress import IPv4Address, IPv6Address

from aiohttp import web

from serving import figures


class ListenError(Exception):
    """The port cannot be listened on; the message says why."""


@contextlib.asynccontextmanager
async def served(
    address: IPv4Address | IPv6Address, port: int, refresh: Callable[[], None]
) -> AsyncIterator[None]:
    """Answer ``/healthz`` and ``/metrics`` meanwhile.

    Args:
        address: to listen on.
        port: to listen on.
        refresh: called before figures are given.

    Raises:
        ListenError: see there.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def metrics(request: web.Request) -> web.Response:
        refresh()
        body, content_type = figures.exposition(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, str(address), port).start()
    except OSError as error:
        await runner.cleanup()
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ListenError(f"cannot listen on {address}, port {port}: {reason}") from error
    try:
        yield
    finally:
        await runner.cleanup()
