"""The API server's side of an admission: a review goes out, what to make of its object comes back."""

from __future__ import annotations

import base64
import json
import ssl
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from demo.errors import DemoError

_GROUP, _VERSION = "extensions.gardener.cloud", "v1alpha1"
# As the API server calls it: with the timeout of the webhook's configuration.
_PATH = "/webhooks/registry-spegel?timeout=10s"


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

    def __init__(self, session: aiohttp.ClientSession, port: int, authority: Path) -> None:
        """Prepare for a webhook on loopback whose certificate this authority has signed."""
        self._session = session
        self._url = f"https://127.0.0.1:{port}{_PATH}"
        self._trust = ssl.create_default_context(cafile=authority)

    async def ask(self, osc: Mapping[str, Any]) -> Answer:
        """Ask what to make of an update of an OperatingSystemConfig.

        Raises:
            DemoError: the answer is no AdmissionReview, or one of another request.
        """
        uid = str(uuid.uuid4())
        headers = {"Content-Type": "application/json", "Accept": "application/json, */*"}
        body = json.dumps(_review(uid, osc))
        started = time.perf_counter()
        try:
            async with self._session.post(self._url, data=body, headers=headers, ssl=self._trust) as response:
                answered = await response.read()
        except (OSError, aiohttp.ClientError) as error:
            raise DemoError(f"the webhook gives no answer: {error}") from error
        milliseconds = (time.perf_counter() - started) * 1000
        if response.status != 200:
            text = answered.decode(errors="replace").strip()
            raise DemoError(f"the webhook answers with HTTP status {response.status}: {text}")
        return _answer(uid, answered, milliseconds)


def _answer(uid: str, body: bytes, milliseconds: float) -> Answer:
    try:
        verdict = json.loads(body)["response"]
        patch = base64.b64decode(verdict.get("patch", ""), validate=True)
        if verdict["uid"] != uid:
            raise DemoError(f"the webhook's answer is for {verdict['uid']}, not for {uid}")
        return Answer(
            allowed=verdict["allowed"],
            message=verdict.get("status", {}).get("message", ""),
            warnings=verdict.get("warnings", []),
            patch=json.loads(patch) if patch else [],
            patch_bytes=len(patch),
            milliseconds=milliseconds,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DemoError(f"the webhook's answer is no AdmissionReview: {error!r}") from error


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
