"""Nodes from an API server: listed in pages, then watched.

The official client makes the requests; what comes back is read as plain JSON, a page or an event at a time.
Each request is made with the credentials that are on disk at that moment, because tokens are renewed in
place; a watch lasts minutes, so that costs nothing.
"""

from __future__ import annotations

import contextlib
import json
import logging
import random
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import urllib3

from bootstrapper.backoff import Backoff
from bootstrapper.events import Event, Events, StreamError
from bootstrapper.roster import Roster
from bootstrapper.sources.base import Listener, SourceError
from serving import api_server

_PATH = "/api/v1/nodes"
_PAGE = "100"  # nodes, of 10 to 20 KB each
_MAX_PAGE_BYTES = 64 << 20
_WATCH_SECONDS = 300  # at least; up to twice that by chance, so that not all clusters do it together
_SILENCE_SECONDS = 120.0  # a server that sends bookmarks does so every minute
_SHORTEST_SECONDS = 1.0
_READ_BYTES = 1 << 16
_RESUMABLE = {401, 403, 429, 500, 502, 503}
"""Statuses that say nothing against the resource version that was asked for."""

_log = logging.getLogger(__name__)


class ApiServer:
    """A Source."""

    def __init__(self, kubeconfig: Path | None, *, timeout_seconds: float, directory: Path | None) -> None:
        """Prepare to read.

        Args:
            kubeconfig: see serving.api_server.connect.
            timeout_seconds: for each page of a list.
            directory: see serving.api_server.connect.
        """
        self._kubeconfig = kubeconfig
        self._timeout = timeout_seconds
        self._directory = directory
        self._version: str | None = None
        """The resource version up to which the roster is true."""

    def read(self, roster: Roster) -> None:
        """See Source."""
        self._list(roster)

    def follow(self, roster: Roster, listener: Listener) -> NoReturn:
        """See Source."""
        backoff = Backoff(random.random)
        while True:
            try:
                if self._version is None:
                    self._list(roster)
                    listener.heard()
                self._watch(roster, listener, backoff)
            except SourceError as error:
                listener.failed(error)
                time.sleep(backoff.next())

    def _list(self, roster: Roster) -> None:
        query = {"limit": _PAGE}
        names: set[str] = set()
        while True:
            page = self._page(query)
            items, metadata = page.get("items"), page.get("metadata")
            if not isinstance(items, list) or not isinstance(metadata, dict):
                raise SourceError("protocol", "the list of nodes is none")
            names.update(name for thing in items if (name := roster.put(thing)))
            if not (proceed := metadata.get("continue")):
                break
            query["continue"] = str(proceed)
        roster.keep_only(names)
        self._version = str(metadata.get("resourceVersion", ""))
        _log.info("listed %d nodes", len(names))

    def _page(self, query: Mapping[str, str]) -> dict[str, Any]:
        deadline = time.monotonic() + self._timeout
        with self._asked(query, self._timeout) as response:
            body = bytearray()
            for data in response.stream(_READ_BYTES):
                body += data
                if len(body) > _MAX_PAGE_BYTES:
                    raise SourceError("protocol", f"a page is longer than {_MAX_PAGE_BYTES} bytes")
                if time.monotonic() > deadline:  # the timeout is for each wait, which a trickle never reaches
                    raise TimeoutError
        try:
            page = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise SourceError("protocol", f"the list of nodes is no JSON: {error}") from error
        if not isinstance(page, dict):
            raise SourceError("protocol", "the list of nodes is no JSON object")
        return page

    def _watch(self, roster: Roster, listener: Listener, backoff: Backoff) -> None:
        seconds = _WATCH_SECONDS * (1 + random.random())  # noqa: S311 - no secret
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version or "",
            "timeoutSeconds": f"{seconds:.0f}",
        }
        events = Events()
        began = time.monotonic()
        with self._asked(query, _SILENCE_SECONDS) as response:
            listener.heard()
            for data in response.stream(_READ_BYTES):
                for event in events.feed(data):
                    self._take(event, roster)
                listener.heard()
                backoff.reset()
        if time.monotonic() - began < _SHORTEST_SECONDS:
            raise SourceError("disconnected", "the watch ended at once")

    def _take(self, event: Event, roster: Roster) -> None:
        match event.kind:
            case "ADDED" | "MODIFIED":
                roster.put(event.thing)
            case "DELETED":
                roster.remove(event.thing)
            case "ERROR":
                raise self._refusal(event.thing.get("code"), event.thing)
            case _:
                pass  # a bookmark has nothing but a resource version
        self._version = event.version or self._version

    @contextlib.contextmanager
    def _asked(self, query: Mapping[str, str], timeout: float) -> Iterator[urllib3.BaseHTTPResponse]:
        """Ask for nodes; whatever goes wrong, also while the answer is read, is a SourceError."""
        try:
            api = api_server.connect(self._kubeconfig, directory=self._directory)
        except api_server.ConfigurationError as error:
            raise SourceError("configuration", str(error)) from error
        try:
            response = api_server.get(api, _PATH, query, timeout)
            try:
                if response.status != 200:
                    status = response.read(_READ_BYTES)
                    with contextlib.suppress(ValueError):
                        status = json.loads(status)
                    raise self._refusal(response.status, status)
                yield response
            finally:
                response.close()
        except StreamError as error:
            raise SourceError("protocol", str(error)) from error
        except api_server.FAILURES as error:
            message = api_server.cause(error, timeout)
            raise SourceError("disconnected", message) from error
        finally:
            api.rest_client.pool_manager.clear()

    def _refusal(self, code: object, status: object) -> SourceError:
        if code not in _RESUMABLE:
            self._version = None
        reasons = {401: "unauthorized", 403: "unauthorized", 410: "expired"}
        reason = reasons.get(code, "refused") if isinstance(code, int) else "refused"
        return SourceError(reason, f"status {code}: {api_server.reason(status)}")
