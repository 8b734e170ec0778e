"""The part of an API server that calls mutating webhooks, as they are registered."""

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

import jsonpatch

from tests.apiserver import Object
from tests.e2e.seed.kubelet import Kubelet
from tests.e2e.seed.objects import OPERATING_SYSTEM_CONFIG, Objects

_KIND = {
    "group": OPERATING_SYSTEM_CONFIG.group,
    "version": OPERATING_SYSTEM_CONFIG.version,
    "kind": OPERATING_SYSTEM_CONFIG.kind,
}


class DeniedError(Exception):
    """A webhook does not allow it, or does not answer; with its message."""


class Admission:
    """For OperatingSystemConfigs."""

    def __init__(self, objects: Objects, kubelet: Kubelet) -> None:
        self._objects = objects
        self._kubelet = kubelet
        self.warnings: list[str] = []
        """What webhooks have said along with their last answers."""

    def is_registered(self) -> bool:
        """Tell whether webhooks are registered, and those that are lead to a pod that is ready."""
        hooks = [hook for _, hook in self._hooks()]
        return bool(hooks) and all(self._port(hook) for hook in hooks)

    def admit(self, config: Object, old: Object | None) -> Object:
        """Return what the webhooks make of an OperatingSystemConfig that is created or updated.

        Raises:
            DeniedError: one denies it.
        """
        operation = "UPDATE" if old else "CREATE"
        namespace = self._objects.get("Namespace", None, config["metadata"]["namespace"])
        self.warnings.clear()
        for name, hook in self._hooks():
            if _applies(hook, operation, namespace["metadata"].get("labels") or {}):
                config = self._ask(name, hook, operation, config, old)
        return config

    def _hooks(self) -> Iterator[tuple[str, Object]]:
        configurations = self._objects.all("MutatingWebhookConfiguration")
        for configuration in sorted(configurations, key=lambda thing: str(thing["metadata"]["name"])):
            for hook in configuration["webhooks"]:
                yield hook["name"], hook

    def _port(self, hook: Object) -> int | None:
        service = hook["clientConfig"]["service"]
        return self._kubelet.port_of(service["namespace"], service["name"], service.get("port", 443))

    def _ask(self, name: str, hook: Object, operation: str, config: Object, old: Object | None) -> Object:
        review = _review(operation, config, old)
        try:
            answer = self._kubelet.machine.call(lambda: self._post(hook, review))
        except (OSError, http.client.HTTPException) as error:
            raise DeniedError(f"failed calling webhook {name}: {error}") from error
        response = answer["response"]
        assert response["uid"] == review["request"]["uid"]
        if not response["allowed"]:
            raise DeniedError(f"admission webhook {name} denied the request: {response['status']['message']}")
        self.warnings += response.get("warnings", ())
        if "patch" not in response:
            return config
        assert response["patchType"] == "JSONPatch"
        patched: Object = jsonpatch.apply_patch(config, json.loads(base64.b64decode(response["patch"])))
        return patched

    def _post(self, hook: Object, review: Object) -> Object:
        client, service = hook["clientConfig"], hook["clientConfig"]["service"]
        trust = ssl.create_default_context(cadata=base64.b64decode(client["caBundle"]).decode())
        address = self._kubelet.machine.address, self._port(hook) or 0
        host, timeout = f"{service['name']}.{service['namespace']}.svc", hook["timeoutSeconds"]
        connection = http.client.HTTPConnection(host, timeout=timeout)
        with contextlib.closing(connection):
            connection.sock = trust.wrap_socket(
                socket.create_connection(address, timeout), server_hostname=host
            )
            headers = {"Content-Type": "application/json"}
            connection.request("POST", f"{service['path']}?timeout={timeout}s", json.dumps(review), headers)
            response = connection.getresponse()
            body = response.read()
        if response.status != http.HTTPStatus.OK:
            raise http.client.HTTPException(f"HTTP status {response.status}: {body.decode()}")
        answer: Object = json.loads(body)
        return answer


def _applies(hook: Object, operation: str, labels: Mapping[str, str]) -> bool:
    for expression in hook.get("namespaceSelector", {}).get("matchExpressions", ()):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return any(
        OPERATING_SYSTEM_CONFIG.group in rule["apiGroups"]
        and OPERATING_SYSTEM_CONFIG.plural in rule["resources"]
        and operation in rule["operations"]
        for rule in hook["rules"]
    )


def _review(operation: str, config: Object, old: Object | None) -> dict[str, Any]:
    resource = {"group": _KIND["group"], "version": _KIND["version"]}
    resource["resource"] = OPERATING_SYSTEM_CONFIG.plural
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": str(uuid.uuid4()),
            "kind": _KIND,
            "resource": resource,
            "requestKind": _KIND,
            "requestResource": resource,
            "name": config["metadata"]["name"],
            "namespace": config["metadata"]["namespace"],
            "operation": operation,
            "userInfo": {"username": "gardenlet", "groups": ["system:authenticated"]},
            "object": config,
            "oldObject": old,
            "dryRun": False,
        },
    }
