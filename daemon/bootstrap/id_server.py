"""Serves what others need to begin with this node: ``/id``, a list with one entry, as upstream writes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus

from daemon.http.message import Request, Response
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
