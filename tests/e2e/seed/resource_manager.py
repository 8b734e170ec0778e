"""gardener-resource-manager in small: ManagedResources become objects, and token Secrets get their token."""

from __future__ import annotations

import base64
import uuid
from typing import Any

import yaml

from tests.apiserver import Object
from tests.e2e.seed.objects import Objects, secret_data

_FINALIZER = "resources.gardener.cloud/gardener-resource-manager"
_PREFIX = "serviceaccount.resources.gardener.cloud"


class ResourceManager:
    """For one shoot: objects of class ``seed`` go to the seed, all others to the shoot."""

    def __init__(self, seed: Objects, shoot: Objects) -> None:
        self._seed = seed
        self._shoot = shoot

    def sync(self) -> None:
        """Do what is to be done now."""
        for managed in self._seed.all("ManagedResource"):
            if managed["metadata"].get("deletionTimestamp"):
                self._remove(managed)
            else:
                self._apply(managed)
        for secret in self._seed.all("Secret"):
            labels = secret["metadata"].get("labels") or {}
            if labels.get("resources.gardener.cloud/purpose") == "token-requestor":
                self._request_token(secret)

    def _apply(self, managed: Object) -> None:
        finalizers = managed["metadata"].get("finalizers") or []
        if _FINALIZER not in finalizers:
            metadata = {**managed["metadata"], "finalizers": [*finalizers, _FINALIZER]}
            self._seed.change(managed, {"metadata": metadata})
        target = self._target(managed)
        objects = self._objects(managed)
        for thing in objects:
            target.apply(_labelled(thing, managed["spec"].get("injectLabels") or {}))
        references = [_reference(thing) for thing in objects]
        for reference in (managed.get("status") or {}).get("resources", ()):
            if reference not in references:
                target.delete(reference["kind"], reference["namespace"], reference["name"])
        is_healthy = all(self._is_healthy(target, thing) for thing in objects)
        conditions = {"ResourcesApplied": True, "ResourcesHealthy": is_healthy, "ResourcesProgressing": False}
        status = {
            "observedGeneration": managed["metadata"]["generation"],
            "resources": references,
            "conditions": [{"type": kind, "status": str(value)} for kind, value in conditions.items()],
        }
        self._seed.change(managed, {"status": status}, status=True)

    def _remove(self, managed: Object) -> None:
        if not managed["spec"].get("keepObjects"):
            for reference in (managed.get("status") or {}).get("resources", ()):
                self._target(managed).delete(reference["kind"], reference["namespace"], reference["name"])
        finalizers = [name for name in managed["metadata"].get("finalizers", ()) if name != _FINALIZER]
        self._seed.change(managed, {"metadata": {**managed["metadata"], "finalizers": finalizers}})

    def _target(self, managed: Object) -> Objects:
        return self._seed if managed["spec"].get("class") == "seed" else self._shoot

    def _objects(self, managed: Object) -> list[Object]:
        secrets = [
            self._seed.find("Secret", managed["metadata"]["namespace"], reference["name"])
            for reference in managed["spec"]["secretRefs"]
        ]
        texts = [text for secret in secrets if secret for text in secret_data(secret).values()]
        return [thing for text in texts for thing in yaml.safe_load_all(text) if thing]

    @staticmethod
    def _is_healthy(target: Objects, thing: Object) -> bool:
        if thing["kind"] != "Deployment":
            return True
        found = target.find("Deployment", thing["metadata"]["namespace"], thing["metadata"]["name"]) or {}
        ready = (found.get("status") or {}).get("readyReplicas", 0)
        return int(ready) >= int(thing["spec"]["replicas"])

    def _request_token(self, secret: Object) -> None:
        """Make the ServiceAccount that a Secret asks for, and give the Secret its token."""
        if "token" in (secret.get("data") or {}):
            return
        annotations = secret["metadata"]["annotations"]
        name, namespace = annotations[f"{_PREFIX}/name"], annotations[f"{_PREFIX}/namespace"]
        metadata = {"name": name, "namespace": namespace}
        self._shoot.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
        token = f"{namespace}:{name}:{uuid.uuid4()}"
        assert self._shoot.server.tokens is not None
        self._shoot.server.tokens.add(token)
        data = {**(secret.get("data") or {}), "token": base64.b64encode(token.encode()).decode()}
        self._seed.change(secret, {"data": data})


def _labelled(thing: Object, labels: dict[str, str]) -> Object:
    metadata = thing["metadata"]
    return {**thing, "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), **labels}}}


def _reference(thing: Object) -> dict[str, Any]:
    metadata = thing["metadata"]
    return {"kind": thing["kind"], "namespace": metadata.get("namespace"), "name": metadata["name"]}
