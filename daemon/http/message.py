"""Requests as handlers see them, responses as they give them back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol

from daemon.http.turns import Step

Headers = Mapping[str, str]
"""Header fields of a request by lower-case name; a repeated field was refused, or joined by a comma."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, already checked: GET or HEAD, no body, a path that starts with a slash."""

    method: str
    path: str
    """Percent-decoded once, without the query; holds no NUL and no dot segments."""
    query: Mapping[str, str]
    """Decoded parameters; the first of each name."""
    headers: Headers
    client: str
    """The client's IP address."""


class Sink(Protocol):
    """The client's end of a response body. Every wait is bounded by the server's idle limit.

    Raises ConnectionError when the client is gone, TimeoutError when it takes nothing for too long.
    """

    def fileno(self) -> int:
        """Return the non-blocking socket, for sendfile and splice."""

    async def pump(self, step: Step) -> None:
        """Take a step whenever the socket takes more, until one is the last."""

    async def send(self, data: bytes | memoryview) -> None:
        """Write all of ``data``."""

    async def closed(self) -> None:
        """Return once the client has closed its end."""


class Body(Protocol):
    """A response body that writes itself."""

    @property
    def length(self) -> int:
        """The exact number of bytes that ``write_to`` writes."""

    @property
    def sent(self) -> int:
        """How many it has written so far."""

    async def write_to(self, sink: Sink) -> None:
        """Write the body. Any exception cuts the connection, so that a short body never looks complete."""

    async def aclose(self) -> None:
        """Release what the body holds; called exactly once, also for HEAD and for clients that are gone."""


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to a request."""

    status: HTTPStatus
    headers: tuple[tuple[str, str], ...] = ()
    """Without Content-Length and Date, which the server adds."""
    body: bytes | Body = b""
    head_length: int | None = None
    """The length that a HEAD answer states for the body that it does not have."""
    attributes: dict[str, str] = field(default_factory=dict)
    """For metrics and the log: ``handler``, ``registry``, ``source``."""


Handler = Callable[[Request], Response | Awaitable[Response]]
"""A handler that answers at once returns the response itself: that costs no task."""
