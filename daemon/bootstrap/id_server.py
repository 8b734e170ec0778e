"""Serves what others need to begin with this node: ``/id``, a list with one entry, as upstream writes it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from http import HTTPStatus

from daemon.http.message import Request, Response
from daemon.http.quiet import Quiet
from daemon.http.server import Server
from daemon.libp2p.peer_info import PeerInfo

_JSON = (("Content-Type", "application/json"),)


def id_handler(me: Callable[[], PeerInfo]) -> Callable[[Request], Response]:
    """Return a handler, for a server of its own; ``me`` returns this node's ID and addresses."""

    def handle(request: Request) -> Response:
        if request.path != "/id":
            return Response(HTTPStatus.NOT_FOUND)
        info = me()
        entry = {"ID": str(info.id), "Addrs": [str(address) for address in info.addresses]}
        return Response(HTTPStatus.OK, _JSON, json.dumps([entry], separators=(",", ":")).encode())

    return handle


class IdServer:
    """The server for it."""

    def __init__(self, address: str, me: Callable[[], PeerInfo]) -> None:
        """Listen on an address such as ``:5090``.

        Raises:
            ListenError: it cannot be listened on.
        """
        self._server = Server(id_handler(me), Quiet())
        self._server.listen(address)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.port

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await self._server.drain(0)
