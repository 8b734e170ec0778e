"""One connection: from HTTP to the store and back."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import yaml

from tests.apiserver import patches, protobuf
from tests.apiserver.resources import Resource, Target
from tests.apiserver.selectors import Selector, selector
from tests.apiserver.status import RefusedError, expired
from tests.apiserver.store import Event, Object

if TYPE_CHECKING:
    from tests.apiserver.server import ApiServer, Listener, Orders

Answer = tuple[int, Object]

_VERSION = {"major": "1", "minor": "34", "gitVersion": "v1.34.0"}
_SCHEMAS = "/openapi/v2"
"""Where kubectl and Helm look for schemas before they apply anything; an empty document has none."""
_PROBES = ("/healthz", "/livez", "/readyz")
_LONGEST_WATCH_SECONDS = 3600.0
_LOOK_UP_SECONDS = 1.0
_MERGE_PATCHES = ("application/merge-patch+json", "application/strategic-merge-patch+json")
_JSON_PATCH = "application/json-patch+json"
_APPLY_PATCH = "application/apply-patch+yaml"


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection, one after the other."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Listener

    @property
    def api(self) -> ApiServer:
        return self.server.api

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Log nothing."""

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        self.query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        target = self.api.resources.target(parts.path)
        try:
            self.api.admit(self._verb(target), parts.path, self.query, self.headers.get("Authorization", ""))
            if target is None:
                self._other(parts.path)
            elif answer := self._work(target):
                self._send(*answer)
        except RefusedError as error:
            self._send(error.code, error.status)
        except ConnectionError:
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the base's names

    def _verb(self, target: Target | None) -> str:
        if target is None:
            return self.command
        if self.command == "GET" and not target.name:
            return "watch" if self.query.get("watch") in ("true", "1") else "list"
        if self.command == "DELETE" and not target.name:
            return "deletecollection"
        verbs = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
        return verbs[self.command]

    def _other(self, path: str) -> None:
        if self.command == "GET" and path in _PROBES:
            self._send_bytes(200, b"ok", "text/plain")
        elif self.command == "GET" and path == _SCHEMAS:
            self._send_bytes(200, b"", "application/com.github.proto-openapi.spec.v2.v1.0+protobuf")
        elif self.command == "GET" and path == "/version":
            self._send(200, _VERSION)
        elif self.command == "GET" and (document := self.api.resources.discovery(path)):
            self._send(200, document)
        else:
            raise RefusedError(404, "the server could not find the requested resource")

    def _work(self, target: Target) -> Answer | None:
        if (target.resource.kind, target.subresource, self.command) == ("Pod", "log", "GET"):
            self.api.store.get(target.resource, target.namespace, str(target.name))
            self._send_bytes(200, self.api.logs.get(str(target.name), "").encode(), "text/plain")
            return None
        if target.subresource not in (None, "status") or (
            target.subresource and not target.resource.has_status
        ):
            raise RefusedError(404, "the server could not find the requested resource")
        work: dict[str, Callable[[Target], Answer | None]] = {
            "get": self._get,
            "list": self._list,
            "watch": self._watch,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_all,
        }
        return work[self._verb(target)](target)

    def _get(self, target: Target) -> Answer:
        return 200, self.api.store.get(target.resource, target.namespace, str(target.name))

    def _list(self, target: Target) -> Answer:
        limit = int(self.query.get("limit") or 0)
        if token := self.query.get("continue"):
            page = self.api.store.next_page(token, limit)
        else:
            page = self.api.store.page(target.resource, target.namespace, self._selector(), limit)
        metadata: Object = {"resourceVersion": str(page.version)}
        if page.proceed:
            metadata |= {"continue": page.proceed, "remainingItemCount": page.remaining}
        return 200, {
            "kind": f"{target.resource.kind}List",
            "apiVersion": target.resource.api_version,
            "metadata": metadata,
            "items": [_as_item(target.resource, thing) for thing in page.items],
        }

    def _create(self, target: Target) -> Answer:
        thing = self._object()
        return 201, self.api.store.create(target.resource, target.namespace, thing, manager=self._manager)

    def _update(self, target: Target) -> Answer:
        thing = self._object()
        return 200, self._change(target, lambda _: thing)

    def _patch(self, target: Target) -> Answer:
        kind = self.headers.get_content_type()
        if kind == _APPLY_PATCH:
            return self._apply(target)
        patch = self._parsed()
        if kind in _MERGE_PATCHES:
            return 200, self._change(target, lambda thing: patches.merge(thing, patch))
        if kind == _JSON_PATCH:
            return 200, self._change(target, lambda thing: patches.apply_json_patch(thing, patch))
        raise RefusedError(415, f"the body of the request was in an unknown format: {kind}")

    def _apply(self, target: Target) -> Answer:
        if "fieldManager" not in self.query:
            raise RefusedError(422, "PatchOptions.meta.k8s.io is invalid: fieldManager: Required value")
        thing, new = self.api.store.apply(
            target.resource,
            target.namespace,
            str(target.name),
            self._object(),
            manager=self._manager,
            force=self.query.get("force") in ("true", "1"),
            status=target.subresource == "status",
        )
        return (201 if new else 200), thing

    def _delete(self, target: Target) -> Answer:
        # kubectl and Helm send options that say nothing more in protobuf.
        is_json = self.headers.get_content_type() != protobuf.CONTENT_TYPE
        options = self._parsed() if self.body and is_json else {}
        uid = (options.get("preconditions") or {}).get("uid")
        thing = self.api.store.delete(target.resource, target.namespace, str(target.name), uid=uid)
        if thing["metadata"].get("finalizers"):
            return 200, thing
        return 200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}

    def _delete_all(self, target: Target) -> Answer:
        for thing in self.api.store.page(target.resource, target.namespace, self._selector(), 0).items:
            with contextlib.suppress(RefusedError):
                metadata = thing["metadata"]
                self.api.store.delete(target.resource, metadata.get("namespace"), metadata["name"])
        return 200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}

    def _change(self, target: Target, change: Callable[[Object], Object]) -> Object:
        return self.api.store.change(
            target.resource,
            target.namespace,
            str(target.name),
            change,
            status=target.subresource == "status",
            manager=self._manager,
        )

    def _watch(self, target: Target) -> None:
        matches = self._selector()
        seconds = float(self.query.get("timeoutSeconds") or _LONGEST_WATCH_SECONDS)
        with self.server.watching(self.connection) as orders:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                for data in self._stream(target, matches, orders, time.monotonic() + seconds):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            except RefusedError as error:
                data = _line("ERROR", error.status)
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.write(b"0\r\n\r\n")

    def _stream(self, target: Target, matches: Selector, orders: Orders, deadline: float) -> Iterator[bytes]:
        store, resource = self.api.store, target.resource
        wanted = self.query.get("resourceVersion") or "0"
        if not wanted.isdecimal():
            raise RefusedError(400, f"invalid resource version {wanted!r}")
        version = int(wanted)
        if not version:
            page = store.page(resource, target.namespace, matches, 0)
            version = page.version
            yield b"".join(_line("ADDED", thing) for thing in page.items) or b"\n"
        while time.monotonic() < deadline and not self.server.stopped.is_set():
            with store.changed:
                if store.version == version and not orders:
                    store.changed.wait(min(_LOOK_UP_SECONDS, max(0.0, deadline - time.monotonic())))
                given = orders.take()
                events = store.since(version)
                version = store.version
            if given.raw:
                yield given.raw
            if given.cut:
                raise ConnectionAbortedError
            if data := b"".join(_lines(events, target, matches)):
                yield data
            if given.expire:
                raise expired()
            if given.bookmark and self.query.get("allowWatchBookmarks") in ("true", "1"):
                head = {"kind": resource.kind, "apiVersion": resource.api_version}
                yield _line("BOOKMARK", head | {"metadata": {"resourceVersion": str(version)}})

    def _selector(self) -> Selector:
        return selector(self.query.get("labelSelector", ""), self.query.get("fieldSelector", ""))

    @property
    def _manager(self) -> str:
        return self.query.get("fieldManager") or self.headers.get("User-Agent", "unknown").partition("/")[0]

    def _parsed(self) -> Any:
        try:
            if self.headers.get_content_type() == _APPLY_PATCH:
                return yaml.safe_load(self.body)
            if self.headers.get_content_type() == protobuf.CONTENT_TYPE:
                return protobuf.decode(self.body)
            return json.loads(self.body)
        except (ValueError, yaml.YAMLError) as error:
            raise RefusedError(400, f"the body cannot be decoded: {error}") from error

    def _object(self) -> Object:
        thing = self._parsed()
        if not isinstance(thing, dict):
            raise RefusedError(400, "the body is no object")
        return thing

    def _send(self, status: int, document: Object) -> None:
        self._send_bytes(status, json.dumps(document).encode(), "application/json")

    def _send_bytes(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _lines(events: list[Event], target: Target, matches: Selector) -> Iterator[bytes]:
    """The events of a watch; an object that comes to match is new to it, one that ceases to is gone."""
    for event in events:
        thing = event.after or event.before
        assert thing is not None
        if event.resource != target.resource:
            continue
        if target.namespace and thing["metadata"].get("namespace") != target.namespace:
            continue
        was = event.before is not None and matches(event.before)
        now = event.after is not None and matches(event.after)
        if now:
            yield _line("MODIFIED" if was else "ADDED", thing)
        elif was:
            metadata = thing["metadata"] | {"resourceVersion": str(event.version)}
            yield _line("DELETED", thing | {"metadata": metadata})


def _line(kind: str, thing: Object) -> bytes:
    return json.dumps({"type": kind, "object": thing}).encode() + b"\n"


def _as_item(resource: Resource, thing: Object) -> Object:
    """An object as it stands in a list, where those of built-in kinds do not say what they are."""
    if resource.group in ("", "apps", "policy") or resource.group.endswith(".k8s.io"):
        return {key: value for key, value in thing.items() if key not in ("apiVersion", "kind")}
    return thing
