"""The pages on the metrics address: figures, the debug page and, if wanted, profiles."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from importlib import resources

from daemon.http.message import Request, Response
from daemon.metrics import Metrics
from daemon.mirror.history import History
from daemon.oci.filters import Filters
from daemon.oci.reference import InvalidReferenceError
from daemon.routing.base import Router
from daemon.store.base import Store, StoreError
from daemon.web import page, profiling
from daemon.web.catalogue import Catalogue, read_catalogue
from daemon.web.measure import BusyError, Meter

_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"
_HTML = "text/html; charset=utf-8"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_GUARDS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
)
_STORE_LIMIT = 3.0
_MAX_SAMPLE = 50.0
"""Seconds; the answer has to start within a minute."""

_Page = Callable[[Request], "Response | Awaitable[Response]"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the pages show."""

    version: str
    host: str
    """This machine's name."""
    store_name: str
    store: Store
    router: Router
    history: History
    metrics: Metrics
    filters: Filters
    meter: Meter


class Pages:
    """Answers requests; an instance is a ``message.Handler``."""

    def __init__(self, surroundings: Surroundings, *, web: bool, profiling: bool) -> None:
        """Offer the figures and, as ``web`` and ``profiling`` say, more."""
        self._about = surroundings
        self._started = time.monotonic()
        self._sampling = False
        pages: dict[str, _Page] = {"/metrics": self._metrics}
        if web:
            pages |= {
                page.ROOT.rstrip("/"): self._redirect,
                page.ROOT: self._overview,
                f"{page.ROOT}measure": self._measure,
                f"{page.ROOT}metadata": self._metadata,
                f"{page.ROOT}page.css": _asset("page.css", "text/css; charset=utf-8"),
                f"{page.ROOT}page.js": _asset("page.js", "text/javascript; charset=utf-8"),
            }
        if profiling:
            pages |= {"/debug/profile/stacks": self._stacks, "/debug/profile/sample": self._sample}
        self._pages: Mapping[str, _Page] = pages

    def __call__(self, request: Request) -> Response | Awaitable[Response]:
        """Answer."""
        found = self._pages.get(request.path)
        if found is None:
            return _text(f"There is nothing here. There is: {', '.join(self._pages)}\n", HTTPStatus.NOT_FOUND)
        return found(request)

    def _metrics(self, _: Request) -> Response:
        return Response(HTTPStatus.OK, (("Content-Type", _PROMETHEUS),), self._about.metrics.exposition())

    def _redirect(self, _: Request) -> Response:
        return Response(HTTPStatus.MOVED_PERMANENTLY, (("Location", page.ROOT),))

    def _metadata(self, _: Request) -> Response:
        document = json.dumps({"libp2p": {"id": self._about.router.id}})
        return Response(HTTPStatus.OK, (("Content-Type", "application/json"),), document.encode())

    async def _overview(self, _: Request) -> Response:
        about = self._about
        catalogue, problem = Catalogue((), 0), None
        try:
            async with asyncio.timeout(_STORE_LIMIT):
                catalogue = await read_catalogue(about.store, about.filters)
        except TimeoutError:
            problem = "it does not answer in time"
        except StoreError as error:
            problem = str(error)
        peers = [page.Node(peer.id, tuple(map(str, peer.addresses))) for peer in await about.router.peers()]
        overview = page.Overview(
            version=about.version,
            host=about.host,
            me=page.Node(about.router.id, tuple(about.router.addresses())),
            store=about.store_name,
            ready=await about.router.ready(),
            now=time.time(),
            uptime=time.monotonic() - self._started,
            last_success=self._last_success(),
            peers=peers,
            images=catalogue.rows,
            image_count=catalogue.count,
            store_error=problem,
            requests=list(about.history),
        )
        return _html(page.overview_page(overview))

    async def _measure(self, request: Request) -> Response:
        image = request.query.get("image", "").strip()
        if request.headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
            return _text("Measurements are started from this node's own page only.\n", HTTPStatus.FORBIDDEN)
        try:
            result = await self._about.meter.measure(image)
        except InvalidReferenceError as error:
            return _html(page.measurement_page(image, str(error)), HTTPStatus.BAD_REQUEST)
        except BusyError as error:
            return _html(page.measurement_page(image, str(error)), HTTPStatus.SERVICE_UNAVAILABLE)
        return _html(page.measurement_page(image, result))

    def _stacks(self, _: Request) -> Response:
        return _text(profiling.stacks())

    async def _sample(self, request: Request) -> Response:
        text = request.query.get("seconds", "5")
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        if not 0 < seconds <= _MAX_SAMPLE:
            message = f"seconds must be more than 0 and at most {_MAX_SAMPLE:.0f}\n"
            return _text(message, HTTPStatus.BAD_REQUEST)
        if self._sampling:
            return _text("A profile is being taken.\n", HTTPStatus.SERVICE_UNAVAILABLE)
        self._sampling = True
        try:
            return _text(await asyncio.to_thread(profiling.sample, seconds))
        finally:
            self._sampling = False

    def _last_success(self) -> float | None:
        (metric,) = self._about.metrics.mirror_last_success.collect()
        return metric.samples[0].value or None


def _asset(name: str, media_type: str) -> _Page:
    data = resources.files("daemon.web").joinpath(name).read_bytes()
    response = Response(HTTPStatus.OK, (("Content-Type", media_type), *_GUARDS), data)
    return lambda _: response


def _html(text: str, status: HTTPStatus = HTTPStatus.OK) -> Response:
    headers = (("Content-Type", _HTML), ("Content-Security-Policy", _POLICY), *_GUARDS)
    return Response(status, headers, text.encode())


def _text(text: str, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(status, (("Content-Type", _TEXT), *_GUARDS), text.encode())
