"""Requests to an API server: objects as JSON says them, no models, no discovery."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

import aiohttp
import kopf

from controller.operator.login import NoApiServerError
from controller.operator.resources import Resource

FIELD_MANAGER = "registry-spegel"
"""Owner of the fields that are written here, see server-side apply."""

_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_EDIT = "application/json-patch+json"
_TIMEOUT_SECONDS = 20
_PAGE = 500
_log = logging.getLogger(__name__)

Object = dict[str, Any]


class ApiError(Exception):
    """A request that did not succeed; the message names the object and the cause."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status, None when there was no answer."""


class NotFoundError(ApiError):
    """The object does not exist."""


class ConflictError(ApiError):
    """The object has changed since it was read, or exists already."""


class Client:
    """Speaks to one API server until closed."""

    def __init__(self, log_in: Callable[[], kopf.ConnectionInfo]) -> None:
        """Take the function that returns address and credentials, now and when they have expired."""
        self._log_in = log_in
        self._info: kopf.ConnectionInfo | None = None
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections; the next request would open new ones."""
        session, self._session, self._info = self._session, None, None
        if session is not None:
            await session.close()

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        """Return an object.

        Raises:
            NotFoundError: there is none.
            ApiError: it cannot be told.
        """
        return await self._request("GET", resource.path(namespace, name))

    async def find(self, resource: Resource, name: str, namespace: str | None = None) -> Object | None:
        """Return an object, or None when there is none.

        Raises:
            ApiError: it cannot be told.
        """
        try:
            return await self.get(resource, name, namespace)
        except NotFoundError:
            return None

    async def serves(self, resource: Resource) -> bool:
        """Tell whether the API server knows a kind of objects.

        Raises:
            ApiError: it cannot be told.
        """
        try:
            found = await self._request("GET", resource.group_path)
        except NotFoundError:
            return False
        return any(each.get("name") == resource.plural for each in found.get("resources") or ())

    async def list(
        self, resource: Resource, namespace: str | None = None, *, labels: Mapping[str, str] | None = None
    ) -> Sequence[Object]:
        """Return the objects that have all these labels; of all namespaces when none is named.

        Raises:
            ApiError: they cannot be read.
        """
        query = {"limit": str(_PAGE)}
        if labels:
            query["labelSelector"] = ",".join(f"{key}={value}" for key, value in labels.items())
        items: list[Object] = []
        while True:
            page = await self._request("GET", resource.path(namespace), query)
            items += page.get("items") or ()
            proceed = (page.get("metadata") or {}).get("continue")
            if not proceed:
                return items
            query["continue"] = proceed

    async def create(self, resource: Resource, thing: Object) -> Object:
        """Create an object.

        Raises:
            ConflictError: there is one of this name.
            ApiError: it cannot be created.
        """
        path = resource.path(thing["metadata"].get("namespace"))
        return await self._request("POST", path, {"fieldManager": FIELD_MANAGER}, thing)

    async def update(self, resource: Resource, thing: Object) -> Object:
        """Replace an object that was read before.

        Raises:
            ConflictError: it has changed since.
            ApiError: it cannot be replaced.
        """
        metadata = thing["metadata"]
        path = resource.path(metadata.get("namespace"), metadata["name"])
        return await self._request("PUT", path, {"fieldManager": FIELD_MANAGER}, thing)

    async def apply(self, resource: Resource, thing: Object) -> Object:
        """Let an object have all that is said here, whoever said otherwise; server-side apply.

        Raises:
            ApiError: it cannot be applied.
        """
        metadata = thing["metadata"]
        path = resource.path(metadata.get("namespace"), metadata["name"])
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._request("PATCH", path, query, thing, _APPLY)

    async def patch(
        self, resource: Resource, name: str, namespace: str | None, patch: Object, *, subresource: str = ""
    ) -> Object:
        """Change an object by a merge patch.

        Raises:
            NotFoundError: there is none.
            ConflictError: the patch names a resource version that is not the object's any more.
            ApiError: it cannot be changed.
        """
        path = resource.path(namespace, name) + (f"/{subresource}" if subresource else "")
        return await self._request("PATCH", path, {"fieldManager": FIELD_MANAGER}, patch, _MERGE)

    async def edit(
        self, resource: Resource, name: str, namespace: str | None, operations: Sequence[Object]
    ) -> Object:
        """Change an object by a JSON patch (RFC 6902).

        Raises:
            NotFoundError: there is none.
            ApiError: it cannot be changed, or one of the patch's tests says no (status 422).
        """
        path = resource.path(namespace, name)
        return await self._request("PATCH", path, {"fieldManager": FIELD_MANAGER}, operations, _EDIT)

    async def delete(self, resource: Resource, thing: Object) -> None:
        """Delete an object that was read before, and no other that has taken its name since.

        Raises:
            ApiError: it cannot be deleted; that it is gone already is none.
        """
        metadata = thing["metadata"]
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": metadata["uid"]},
            "propagationPolicy": "Background",
        }
        path = resource.path(metadata.get("namespace"), metadata["name"])
        try:
            await self._request("DELETE", path, None, options)
        except (NotFoundError, ConflictError) as error:
            _log.debug("%s", error)

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | Sequence[Object] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        headers = {"Accept": "application/json", "User-Agent": FIELD_MANAGER}
        data = None
        if body is not None:
            data = json.dumps(body)
            headers["Content-Type"] = content_type
        for attempt in (1, 2):
            session, server = await self._enter()
            try:
                async with session.request(
                    method, server + path, params=query, data=data, headers=headers
                ) as response:
                    text = await response.text()
            except (aiohttp.ClientError, TimeoutError) as error:
                raise ApiError(f"{method} {path}: {error or 'no answer in time'}") from error
            if response.status != 401 or attempt == 2:
                break
            await self.close()  # the token may have been renewed
        if response.status >= 300:
            _refuse(f"{method} {path}", response.status, text)
        try:
            answer = json.loads(text)
        except ValueError as error:
            raise ApiError(f"{method} {path}: the answer is no JSON") from error
        if not isinstance(answer, dict):
            raise ApiError(f"{method} {path}: the answer is no object")
        return answer

    async def _enter(self) -> tuple[aiohttp.ClientSession, str]:
        expiration = self._info.expiration if self._info else None
        if expiration is not None and expiration <= datetime.now(UTC):
            await self.close()
        if self._info is None or self._session is None:
            try:
                self._info = self._log_in()
            except NoApiServerError as error:
                raise ApiError(str(error)) from error
            secure = self._info.server.startswith("https:")
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._info.as_ssl_context() if secure else False),
                headers=self._info.as_http_headers(),
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS),
            )
        return self._session, self._info.server.rstrip("/")


def _refuse(request: str, status: int, text: str) -> NoReturn:
    try:
        detail = json.loads(text).get("message")
    except (ValueError, AttributeError):
        detail = None
    message = f"{request}: {detail or text[:200] or 'no reason given'} ({status})"
    kinds: dict[int, type[ApiError]] = {404: NotFoundError, 409: ConflictError}
    raise kinds.get(status, ApiError)(message, status)
