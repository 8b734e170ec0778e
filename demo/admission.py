"""The API server's side of an admission: a review goes out, what to make of its object comes back."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_GROUP, _VERSION = "extensions.gardener.cloud", "v1alpha1"
# As the API server calls it: with the timeout of the webhook's configuration.
_PATH = "/webhooks/registry-spegel?timeout=10s"


class AdmissionError(Exception):
    """The webhook did not answer as an API server expects."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the webhook decided."""

    allowed: bool
    message: str
    warnings: list[str]
    patch: list[dict[str, Any]]
    patch_bytes: int
    milliseconds: float


class ApiServerClient:
    """Asks the webhook over one verified TLS connection, as an API server does."""

    def __init__(self, port: int, authority: Path) -> None:
        """Prepare for a webhook on loopback whose certificate this authority has signed."""
        trust = ssl.create_default_context(cafile=authority)
        self._connection = http.client.HTTPSConnection("127.0.0.1", port, context=trust, timeout=10)

    def ask(self, osc: Mapping[str, Any]) -> Answer:
        """Ask what to make of an update of an OperatingSystemConfig.

        Raises:
            AdmissionError: the answer is no AdmissionReview, or one of another request.
        """
        uid = str(uuid.uuid4())
        headers = {"Content-Type": "application/json", "Accept": "application/json, */*"}
        body = json.dumps(_review(uid, osc))
        started = time.perf_counter()
        try:
            self._connection.request("POST", _PATH, body, headers)
            response = self._connection.getresponse()
            answered = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise AdmissionError(f"no answer: {error}") from error
        milliseconds = (time.perf_counter() - started) * 1000
        if response.status != http.HTTPStatus.OK:
            raise AdmissionError(
                f"HTTP status {response.status}: {answered.decode(errors='replace').strip()}"
            )
        return _answer(uid, answered, milliseconds)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _answer(uid: str, body: bytes, milliseconds: float) -> Answer:
    try:
        verdict = json.loads(body)["response"]
        patch = base64.b64decode(verdict.get("patch", ""), validate=True)
        if verdict["uid"] != uid:
            raise AdmissionError(f"the answer is for {verdict['uid']}, not for {uid}")
        return Answer(
            allowed=verdict["allowed"],
            message=verdict.get("status", {}).get("message", ""),
            warnings=verdict.get("warnings", []),
            patch=json.loads(patch) if patch else [],
            patch_bytes=len(patch),
            milliseconds=milliseconds,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise AdmissionError(f"the answer is no AdmissionReview: {error!r}") from error


def _review(uid: str, osc: Mapping[str, Any]) -> dict[str, Any]:
    metadata = osc["metadata"]
    kind = {"group": _GROUP, "version": _VERSION, "kind": "OperatingSystemConfig"}
    resource = {"group": _GROUP, "version": _VERSION, "resource": "operatingsystemconfigs"}
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": uid,
            "kind": kind,
            "resource": resource,
            "requestKind": kind,
            "requestResource": resource,
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "operation": "UPDATE",
            "userInfo": {"username": "gardenlet", "groups": ["system:authenticated"]},
            "object": osc,
            "oldObject": osc,
            "dryRun": False,
            "options": {"apiVersion": "meta.k8s.io/v1", "kind": "UpdateOptions"},
        },
    }
