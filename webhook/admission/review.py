"""The AdmissionReview v1 protocol: bytes to a request, a decision to bytes.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/

What is not an AdmissionReview cannot be answered with one and becomes an HTTP error. As soon as the
uid is known every answer is a review that echoes it, because an API server treats any other answer
as a failed call and hides the reason.
"""

from __future__ import annotations

import base64
import json
import math
import re
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, NoReturn

API_VERSION = "admission.k8s.io/v1"

Outcome = Literal["patched", "unchanged", "skipped", "allowed", "denied", "failed", "malformed"]
"""For logs and metrics: denied is the object's fault, failed is ours or the cluster's."""

_REASONS = {400: "BadRequest", 422: "Invalid", 500: "InternalError"}
_WARNING_LENGTH = 256  # an API server may cut longer ones
_WARNINGS_LENGTH = 3072  # an API server drops all warnings of a request beyond 4096, from all webhooks
_MESSAGE_LENGTH = 16384
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")


class ReviewError(Exception):
    """The body is not an AdmissionReview v1 that can be judged; the message is one line and says why.

    ``uid`` is set when the review got as far as naming itself.
    """

    def __init__(self, message: str, *, uid: str | None = None) -> None:
        super().__init__(message)
        self.uid = uid


class Kind(NamedTuple):
    """A kind as ``request.kind`` names it."""

    group: str
    version: str
    kind: str


class Resource(NamedTuple):
    """A resource as ``request.resource`` names it."""

    group: str
    version: str
    resource: str


@dataclass(frozen=True, slots=True)
class Request:
    """What an API server asks: whether, and how changed, an object may be written."""

    uid: str
    kind: Kind
    resource: Resource
    sub_resource: str
    operation: str
    namespace: str
    name: str
    object: dict[str, Any] | None
    old_object: dict[str, Any] | None

    @property
    def subject(self) -> str:
        """The operation and resource in words: ``DELETE of pods/status.v1.core``."""
        resource = "/".join(filter(None, (self.resource.resource, self.sub_resource)))
        return f"{self.operation} of {resource}.{self.resource.version}.{self.resource.group or 'core'}"


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to a request."""

    outcome: Outcome
    allowed: bool = True
    patch: bytes = b""
    """A JSON patch (RFC 6902) in JSON; empty for none."""
    warnings: tuple[str, ...] = ()
    code: int = 200
    message: str = ""
    """Why not, when not allowed."""

    @classmethod
    def deny(cls, message: str, *, code: int, warnings: tuple[str, ...] = ()) -> Decision:
        """Refuse: with a 4xx code for a fault of the object, a 5xx code for one of ours."""
        outcome: Outcome = "failed" if code >= 500 else "malformed" if code == 400 else "denied"
        return cls(outcome, allowed=False, code=code, message=message, warnings=warnings)

    @classmethod
    def skip(cls, warning: str | None = None) -> Decision:
        """Allow untouched what is not ours to judge."""
        return cls("skipped", warnings=(warning,) if warning else ())


def parse(body: bytes) -> Request:
    """Read an AdmissionReview v1 from its JSON.

    Raises:
        ReviewError: it is not one.
    """
    review = _decode(body)
    if not isinstance(review, dict):
        raise ReviewError(f"the body must be an AdmissionReview object, not {_type(review)}")
    if review.get("kind") != "AdmissionReview":
        raise ReviewError("kind must be AdmissionReview")
    if review.get("apiVersion") != API_VERSION:
        raise ReviewError(f"apiVersion must be {API_VERSION}")
    request = review.get("request")
    if not isinstance(request, dict):
        raise ReviewError(f"request must be an object, not {_type(request)}")
    uid = request.get("uid")
    if not isinstance(uid, str) or not uid:
        raise ReviewError("request.uid must be a string that is not empty")
    return _Fields(uid, request).request()


def response(uid: str, decision: Decision) -> bytes:
    """Return the AdmissionReview that answers the request with this uid, in JSON."""
    answer: dict[str, Any] = {"uid": uid, "allowed": decision.allowed}
    if decision.patch:
        answer["patchType"] = "JSONPatch"
        answer["patch"] = base64.b64encode(decision.patch).decode("ascii")
    if not decision.allowed:
        answer["status"] = {
            "status": "Failure",
            "message": one_line(decision.message, _MESSAGE_LENGTH),
            "reason": _REASONS[decision.code],
            "code": decision.code,
        }
    if decision.warnings:
        answer["warnings"] = _bounded(decision.warnings)
    review = {"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": answer}
    return json.dumps(review, separators=(",", ":")).encode("ascii")


def one_line(text: str, length: int) -> str:
    """Return text fit for a header or a log: no control characters, at most ``length`` long."""
    line = "".join(character if character.isprintable() else " " for character in text[: length + 1])
    return line if len(line) <= length else line[: length - 1] + "…"


class _Fields:
    """The members of ``request``, each with its type checked."""

    def __init__(self, uid: str, request: dict[str, Any]) -> None:
        self._uid = uid
        self._request = request

    def request(self) -> Request:
        return Request(
            uid=self._uid,
            kind=Kind(*self._triple("kind", Kind._fields)),
            resource=Resource(*self._triple("resource", Resource._fields)),
            sub_resource=self._text(self._request, "request.", "subResource"),
            operation=self._text(self._request, "request.", "operation", required=True),
            namespace=self._text(self._request, "request.", "namespace"),
            name=self._text(self._request, "request.", "name"),
            object=self._object("object"),
            old_object=self._object("oldObject"),
        )

    def _triple(self, key: str, members: tuple[str, ...]) -> list[str]:
        value = self._request.get(key)
        if not isinstance(value, dict):
            self._wrong(f"request.{key}", "an object", value)
        group, *rest = members  # the core group is the empty string, which JSON may leave out
        path = f"request.{key}."
        return [self._text(value, path, group), *(self._text(value, path, m, required=True) for m in rest)]

    def _text(self, parent: dict[str, Any], path: str, key: str, *, required: bool = False) -> str:
        value = parent.get(key)
        if value is None and not required:
            return ""
        if not isinstance(value, str) or (required and not value):
            self._wrong(path + key, "a string" + " that is not empty" * required, value)
        return value

    def _object(self, key: str) -> dict[str, Any] | None:
        value = self._request.get(key)
        if value is not None and not isinstance(value, dict):
            self._wrong(f"request.{key}", "an object or null", value)
        return value

    def _wrong(self, path: str, expected: str, value: object) -> NoReturn:
        raise ReviewError(f"{path} must be {expected}, not {_type(value)}", uid=self._uid)


def _decode(body: bytes) -> Any:
    try:
        document = json.loads(body.decode("utf-8"), parse_constant=_constant, parse_float=_float)
        if _SURROGATE_ESCAPE.search(body):
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        raise ReviewError(f"the body is not UTF-8: invalid byte at offset {error.start}") from None
    except UnicodeEncodeError:
        raise ReviewError("the body is not JSON: half of a surrogate pair in a string") from None
    except RecursionError:
        raise ReviewError("the body is nested too deeply") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise ReviewError(f"the body is not JSON: {error.msg} at {where}") from None
    except ValueError as error:
        raise ReviewError(f"the body is not JSON: {one_line(str(error), 120)}") from None
    return document


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"a number is out of range: {text}")
    return number


def _bounded(warnings: tuple[str, ...]) -> list[str]:
    lines: list[str] = []
    room = _WARNINGS_LENGTH
    for index, warning in enumerate(warnings):
        line = one_line(warning, _WARNING_LENGTH)
        room -= len(line.encode())
        if room < 0:
            lines.append(f"and {len(warnings) - index} more warnings, see the log of the webhook")
            break
        lines.append(line)
    return lines


def _type(value: object) -> str:
    """The JSON name of a value's type."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
