"""An observer for servers that nobody measures."""

from __future__ import annotations

import logging
from http import HTTPStatus

from daemon.http.limits import Scope
from daemon.http.message import Request, Response

logger = logging.getLogger(__name__)


class Quiet:
    """Implements ``connection.Observer``: keeps nothing, logs what was refused at debug."""

    def begin(self, request: Request) -> None:
        """Nothing to do."""

    def end(self, request: Request, response: Response, seconds: float, *, complete: bool) -> None:
        """Nothing to do."""

    def refused(self, client: str, status: HTTPStatus, message: str) -> None:
        """Log it."""
        logger.debug("request refused", extra={"status": status.value, "ip": client, "reason": message})

    def turned_away(self, scope: Scope) -> None:
        """Nothing to do."""
