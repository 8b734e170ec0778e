"""The registry's paths: what is local is served, the rest is asked of other nodes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Literal, Protocol

from daemon.http.bucket import TokenBucket
from daemon.http.file_body import FileBody
from daemon.http.limits import is_loopback
from daemon.http.message import Request, Response
from daemon.http.responses import error_response
from daemon.metrics import Metrics
from daemon.mirror import UnsatisfiableError, Wanted
from daemon.oci.descriptor import Descriptor
from daemon.oci.digest import Digest
from daemon.oci.errors import ErrorCode, OciError
from daemon.oci.filters import Filters
from daemon.registry.credentials import Credentials
from daemon.registry.facts import Facts, Manifest, WrongKindError
from daemon.registry.origins import Origins
from daemon.registry.patience import Patience
from daemon.registry.ranges import Range, UnsatisfiableRangeError, requested_range
from daemon.registry.target import Target, parse_target
from daemon.store.base import NotFoundError, Store, StoreError

logger = logging.getLogger(__name__)

_READY_TIMEOUT = 1.0


class Fetcher(Protocol):
    """Other nodes; see ``daemon.mirror``."""

    async def fetch(self, wanted: Wanted) -> Response:
        """Return the answer of a peer; OciError when there is none, UnsatisfiableError for a vain range."""


class Registry:
    """Answers requests; an instance is a ``message.Handler``."""

    def __init__(
        self,
        store: Store,
        facts: Facts,
        mirror: Fetcher,
        metrics: Metrics,
        *,
        ready: Callable[[], Awaitable[bool]],
        filters: Filters | None = None,
        origins: Origins | None = None,
        credentials: Credentials | None = None,
        upload_cap: TokenBucket | None = None,
    ) -> None:
        """Take what it works with.

        Args:
            store: what is local.
            facts: what is known of it; of the same store.
            mirror: what other nodes have.
            metrics: the daemon's figures.
            ready: tells whether this node knows others.
            filters: what is not served.
            origins: judges content by these filters; None when there are none.
            credentials: what clients have to know; None when anyone may ask.
            upload_cap: shared by all that other nodes read here.
        """
        self._store = store
        self._facts = facts
        self._mirror = mirror
        self._metrics = metrics
        self._ready = ready
        self._filters = filters or Filters()
        self._origins = origins
        self._credentials = credentials
        self._upload_cap = upload_cap
        self._patience = Patience()

    def __call__(self, request: Request) -> Response | Awaitable[Response]:
        """Answer; at once, if nothing has to be waited for."""
        path = request.path
        if path == "/":
            # The node agent probes this before it configures containerd: whatever the state, it is up.
            return _ok("root")
        if path == "/livez":
            return _ok("livez")
        if path == "/readyz":
            return self._readyz()
        if path != "/v2" and not path.startswith("/v2/"):
            return error_response(
                OciError(HTTPStatus.NOT_FOUND, ErrorCode.UNSUPPORTED, "there is nothing at this path")
            )
        if self._credentials and not self._credentials.match(request.headers.get("authorization")):
            # As upstream, without WWW-Authenticate: containerd would answer a challenge with the pull secret
            # of the image's own registry.
            return error_response(
                OciError(HTTPStatus.UNAUTHORIZED, ErrorCode.UNAUTHORIZED, "invalid credentials")
            )
        if path in {"/v2", "/v2/"}:
            return _ok("v2")
        try:
            target = parse_target(path, request.query)
        except OciError as error:
            return error_response(error)
        return self._content(request, target)

    def _content(self, request: Request, target: Target) -> Response | Awaitable[Response]:
        if self._filters.excludes(target.registry, target.name, target.tag):
            error = target.unknown(f"{target.registry}/{target.name} is filtered out on this node")
            return _labelled(error_response(error), target.kind, target.registry)
        if target.kind == "manifest" and target.digest is not None:
            manifest = self._facts.manifest(target.digest)
            free = self._origins is None or self._origins.advertised(target.digest)
            if free and manifest is not None and manifest.data:
                return _manifest_response(manifest, target)
        if target.digest is not None and self._store.lacks(target.digest):
            return self._fetch(request, target)
        return self._find(request, target)

    async def _find(self, request: Request, target: Target) -> Response:
        try:
            response = await self._local(request, target)
        except OciError as error:
            return _labelled(error_response(error), target.kind, target.registry)
        return response or await self._fetch(request, target)

    async def _fetch(self, request: Request, target: Target) -> Response:
        if request.headers.get("x-spegel-mirrored") == "true":
            error = target.unknown(f"this node does not have {target.key}")
            return _labelled(error_response(error), target.kind, target.registry)
        try:
            response = await self._mirror.fetch(_wanted(request, target))
        except OciError as error:
            response = error_response(error)
        except UnsatisfiableError as error:
            response = _unsatisfiable(target, error.size)
        return _labelled(response, "mirror", target.registry)

    async def _local(self, request: Request, target: Target) -> Response | None:
        """Return the store's answer, None when it has none.

        Raises:
            OciError: the store has it, and yet it is not to be had like this.
        """
        now = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(self._patience.limit(now())):
                response = await self._ask_store(request, target)
        except (StoreError, TimeoutError) as error:
            if isinstance(error, TimeoutError):
                self._patience.exhausted(now())
            self._metrics.store_errors.labels(target.kind).inc()
            logger.warning(
                "the store cannot tell about %s: %s", target.key, str(error) or "no answer in time"
            )
            return None
        self._patience.answered()
        return response

    async def _ask_store(self, request: Request, target: Target) -> Response | None:
        try:
            digest = target.digest or await self._facts.resolve(target.key)
            if self._origins and await self._origins.withhold(digest):
                raise target.unknown(f"{digest} is filtered out on this node")
            if target.kind == "manifest":
                return await self._local_manifest(request, target, digest)
            return await self._local_blob(request, target, digest)
        except WrongKindError as error:
            raise target.unknown(str(error)) from error
        except NotFoundError:
            return None

    async def _local_manifest(self, request: Request, target: Target, digest: Digest) -> Response:
        manifest = await self._facts.load_manifest(digest)
        if manifest.data:
            return _manifest_response(manifest, target)
        return await self._file_response(request, target, manifest.descriptor, None)

    async def _local_blob(self, request: Request, target: Target, digest: Digest) -> Response:
        descriptor = await self._facts.describe(digest)
        if descriptor.is_manifest:
            raise WrongKindError(f"{digest} is no blob but {descriptor.media_type}")
        return await self._file_response(request, target, descriptor, requested_range(request))

    async def _file_response(
        self, request: Request, target: Target, descriptor: Descriptor, wanted: Range | None
    ) -> Response:
        content = await self._facts.open(descriptor)
        size = descriptor.size
        try:
            part = wanted.within(size) if wanted else None
        except UnsatisfiableRangeError:
            content.close()
            return _labelled(_unsatisfiable(target, size), target.kind, target.registry)
        first, length = part or (0, size)
        headers = _headers(descriptor, target.registry)
        if target.kind == "blob":
            headers += (("Accept-Ranges", "bytes"),)
        if part:
            headers += (("Content-Range", f"bytes {first}-{first + length - 1}/{size}"),)
        served = self._metrics.served_bytes.labels(self._metrics.registry_label(target.registry), "local")
        return Response(
            HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK,
            headers,
            FileBody(
                content,
                first,
                length,
                cap=None if is_loopback(request.client) else self._upload_cap,
                sent=served.inc,
            ),
            attributes={"handler": target.kind, "registry": target.registry, "source": "local"},
        )

    async def _readyz(self) -> Response:
        try:
            async with asyncio.timeout(_READY_TIMEOUT):
                ready = await self._ready()
        except TimeoutError:
            ready = False
        if ready:
            return _ok("readyz")
        error = OciError(
            HTTPStatus.INTERNAL_SERVER_ERROR, ErrorCode.UNKNOWN, "this node does not know other nodes yet"
        )
        return _labelled(error_response(error), "readyz")


def _manifest_response(manifest: Manifest, target: Target) -> Response:
    return Response(
        HTTPStatus.OK,
        _headers(manifest.descriptor, target.registry),
        manifest.data,
        attributes={"handler": "manifest", "registry": target.registry, "source": "local"},
    )


def _headers(descriptor: Descriptor, registry: str) -> tuple[tuple[str, str], ...]:
    headers = (("Content-Type", descriptor.media_type), ("Docker-Content-Digest", descriptor.digest))
    return (*headers, ("OCI-Namespace", registry)) if registry else headers


def _unsatisfiable(target: Target, size: int) -> Response:
    error = OciError(
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
        ErrorCode.RANGE_INVALID,
        f"{target.key} has only {size} bytes",
    )
    response = error_response(error)
    headers = (*response.headers, ("Content-Range", f"bytes */{size}"), ("Accept-Ranges", "bytes"))
    return Response(response.status, headers, response.body)


def _wanted(request: Request, target: Target) -> Wanted:
    method: Literal["GET", "HEAD"] = "HEAD" if request.method == "HEAD" else "GET"
    part = requested_range(request) if target.kind == "blob" else None
    return Wanted(
        target.kind,
        target.registry,
        target.name,
        target.digest or target.tag or "",
        target.key,
        method,
        (part.first, part.last) if part else None,
        request.headers.get("accept"),
    )


def _ok(handler: str) -> Response:
    return Response(HTTPStatus.OK, attributes={"handler": handler})


def _labelled(response: Response, handler: str, registry: str = "") -> Response:
    response.attributes.setdefault("handler", handler)
    if registry:
        response.attributes.setdefault("registry", registry)
    return response
