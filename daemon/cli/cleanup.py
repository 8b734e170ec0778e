"""``spegel cleanup``: the user's registry configuration back in its place, and a probe that says so."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from pathlib import Path

from daemon.cli.backup import restore
from daemon.cli.commands import Cleanup
from daemon.cli.signals import stop_requested
from daemon.http.message import Request, Response
from daemon.http.quiet import Quiet
from daemon.http.server import Server
from daemon.http.sockets import ListenError

_DRAIN = 30.0
"""Seconds for probes that are under way."""

logger = logging.getLogger(__name__)


def run_cleanup(command: Cleanup) -> int:
    """Clean up, answer probes until a signal comes; return the exit code."""
    try:
        if not restore(Path(command.containerd_registry_config_path)):
            logger.info("there is no backup: nothing was configured, or it was cleaned up before")
        asyncio.run(_serve(command.addr))
    except (OSError, ListenError) as error:
        logger.error("%s", error)  # noqa: TRY400  # one line says it all
        return 1
    return 0


async def _serve(address: str) -> None:
    stop = stop_requested()
    server = Server(_answer, Quiet())
    server.listen(address)
    logger.info("cleaned up, answering probes until stopped")
    await stop.wait()
    await server.drain(_DRAIN)


def _answer(request: Request) -> Response:
    if request.method == "GET" or request.path == "/readyz":
        return Response(HTTPStatus.OK)
    return Response(HTTPStatus.NOT_FOUND)
