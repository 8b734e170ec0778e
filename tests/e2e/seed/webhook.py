"""The part of an API server that calls admission webhooks, as they are registered."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import ssl
import uuid
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import jsonpatch

from tests.apiserver import Object, Resource
from tests.e2e.seed.kubelet import Kubelet
from tests.e2e.seed.objects import OPERATING_SYSTEM_CONFIG, Objects

SHOOT = Resource("core.gardener.cloud", "v1beta1", "Shoot", "shoots")


class DeniedError(Exception):
    """A webhook does not allow it, or does not answer; with its message."""


class Admission:
    """Calls the webhooks that are registered in one API server, and run in its cluster."""

    def __init__(self, objects: Objects, kubelet: Kubelet) -> None:
        self._objects = objects
        self._kubelet = kubelet
        self.warnings: list[str] = []
        """What webhooks have said along with their last answers."""

    def is_registered(self) -> bool:
        """Tell whether webhooks are registered, and those that are lead to a pod that is ready."""
        hooks = [*self._hooks("Mutating"), *self._hooks("Validating")]
        return bool(hooks) and all(self._port(*_service(hook)[:2]) for hook in hooks)

    def admit(self, config: Object, old: Object | None) -> Object:
        """Return what the webhooks make of an OperatingSystemConfig that is created or updated.

        Raises:
            DeniedError: one denies it.
        """
        operation = "UPDATE" if old else "CREATE"
        namespace = self._objects.get("Namespace", None, config["metadata"]["namespace"])
        labels = namespace["metadata"].get("labels") or {}
        self.warnings.clear()
        for hook in self._hooks("Mutating"):
            if _covers(hook, OPERATING_SYSTEM_CONFIG, operation) and _selects(hook, labels):
                response = self._ask(hook, _request(OPERATING_SYSTEM_CONFIG, operation, config, old))
                if "patch" in response:
                    assert response["patchType"] == "JSONPatch"
                    patch = json.loads(base64.b64decode(response["patch"]))
                    config = jsonpatch.apply_patch(config, patch)
        return config

    def validate(self, shoot: Object) -> None:
        """Let the webhooks look at a Shoot that is created.

        Raises:
            DeniedError: one denies it.
        """
        self.warnings.clear()
        labels = shoot["metadata"].get("labels") or {}
        for hook in self._hooks("Validating"):
            wanted = hook["objectSelector"]["matchLabels"]
            if _covers(hook, SHOOT, "CREATE") and wanted.items() <= labels.items():
                self._ask(hook, _request(SHOOT, "CREATE", shoot, None))

    def _hooks(self, kind: str) -> Iterator[Object]:
        configurations = self._objects.all(f"{kind}WebhookConfiguration")
        for configuration in sorted(configurations, key=lambda thing: str(thing["metadata"]["name"])):
            yield from configuration["webhooks"]

    def _port(self, name: str, namespace: str) -> int | None:
        return self._kubelet.port_of(namespace, name, 443)

    def _ask(self, hook: Object, request: Object) -> Object:
        name, review = hook["name"], {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
        try:
            answer = self._kubelet.machine.call(lambda: self._post(hook, review | {"request": request}))
        except (OSError, http.client.HTTPException) as error:
            raise DeniedError(f"failed calling webhook {name}: {error}") from error
        response: Object = answer["response"]
        assert response["uid"] == request["uid"]
        if not response["allowed"]:
            raise DeniedError(f"admission webhook {name} denied the request: {response['status']['message']}")
        self.warnings += response.get("warnings", ())
        return response

    def _post(self, hook: Object, review: Object) -> Object:
        trust = ssl.create_default_context(cadata=base64.b64decode(hook["clientConfig"]["caBundle"]).decode())
        service, namespace, host, path = _service(hook)
        address = self._kubelet.machine.address, self._port(service, namespace) or 0
        timeout = hook["timeoutSeconds"]
        connection = http.client.HTTPConnection(host, timeout=timeout)
        with contextlib.closing(connection):
            plain = socket.create_connection(address, timeout)
            connection.sock = trust.wrap_socket(plain, server_hostname=host)
            headers = {"Content-Type": "application/json"}
            connection.request("POST", f"{path}?timeout={timeout}s", json.dumps(review), headers)
            response = connection.getresponse()
            body = response.read()
        if response.status != http.HTTPStatus.OK:
            raise http.client.HTTPException(f"HTTP status {response.status}: {body.decode()}")
        answer: Object = json.loads(body)
        return answer


def _service(hook: Object) -> tuple[str, str, str, str]:
    """Return name and namespace of the Service that a webhook is behind, the host's name, and the path."""
    client = hook["clientConfig"]
    if url := client.get("url"):
        parts = urlsplit(url)
        host = parts.hostname or ""
        name, _, namespace = host.partition(".")
        return name, namespace, host, parts.path
    service = client["service"]
    assert service.get("port", 443) == 443
    name, namespace = service["name"], service["namespace"]
    return name, namespace, f"{name}.{namespace}.svc", service["path"]


def _selects(hook: Object, labels: Mapping[str, str]) -> bool:
    for expression in hook.get("namespaceSelector", {}).get("matchExpressions", ()):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return True


def _covers(hook: Object, resource: Resource, operation: str) -> bool:
    return any(
        resource.group in rule["apiGroups"]
        and resource.plural in rule["resources"]
        and operation in rule["operations"]
        for rule in hook["rules"]
    )


def _request(resource: Resource, operation: str, thing: Object, old: Object | None) -> dict[str, Any]:
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    plural = {"group": resource.group, "version": resource.version, "resource": resource.plural}
    return {
        "uid": str(uuid.uuid4()),
        "kind": kind,
        "resource": plural,
        "requestKind": kind,
        "requestResource": plural,
        "name": thing["metadata"]["name"],
        "namespace": thing["metadata"]["namespace"],
        "operation": operation,
        "userInfo": {"username": "gardener", "groups": ["system:authenticated"]},
        "object": thing,
        "oldObject": old,
        "dryRun": False,
    }
