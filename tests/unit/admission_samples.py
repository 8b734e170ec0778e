"""AdmissionReviews and the objects of a shoot, for the tests of admission, context and server."""

from __future__ import annotations

import base64
import copy
import json
from pathlib import Path
from typing import Any

import yaml

from webhook.context.landscape import SECRET, LandscapeError
from webhook.mutation import Program

SAMPLES = Path(__file__).parent.parent / "samples"
NAMESPACE = "shoot--crazy--botany"
UID = "1c3e5a7b-90ab-4cde-8f01-23456789abcd"
URL = "https://sp-crazy--botany.ingress.example.com/bootstrap-nodes"
PROGRAM = Program("registry.example.com/spegel:v1", "/spegel", 30)


def sample(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load((SAMPLES / name).read_text(), yaml.CSafeLoader)
    return loaded


def extension(**changes: Any) -> dict[str, Any]:
    """The sample Extension, with whole top-level members replaced."""
    return sample("extension.yaml") | changes


def cluster(**shoot: Any) -> dict[str, Any]:
    """The sample Cluster, with members of its Shoot replaced."""
    thing = sample("cluster.yaml")
    thing["spec"]["shoot"] |= shoot
    return thing


def secret(**changes: str | None) -> dict[str, Any]:
    """A Secret of the bootstrapper; a value of None takes the key out. Underscores stand for dots."""
    data: dict[str, str | None] = {"ca_crt": "CA", "tls_crt": "CERTIFICATE", "tls_key": "KEY", "url": URL}
    data |= changes
    encoded = {
        key.replace("_", "."): base64.b64encode(value.encode()).decode()
        for key, value in data.items()
        if value is not None
    }
    metadata = {"name": SECRET, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded}


def osc(**spec: Any) -> dict[str, Any]:
    """A small OperatingSystemConfig that is to be mutated."""
    return {
        "apiVersion": "extensions.gardener.cloud/v1alpha1",
        "kind": "OperatingSystemConfig",
        "metadata": {"name": "pool-01", "namespace": NAMESPACE},
        "spec": {
            "type": "gardenlinux",
            "purpose": "reconcile",
            "criConfig": {"name": "containerd", "containerd": {"sandboxImage": "pause:3.10"}},
            "files": [],
            "units": [],
        }
        | spec,
    }


def request(thing: object = None, **changes: Any) -> dict[str, Any]:
    """The ``request`` of a review of an OperatingSystemConfig."""
    base = {
        "uid": UID,
        "kind": {
            "group": "extensions.gardener.cloud",
            "version": "v1alpha1",
            "kind": "OperatingSystemConfig",
        },
        "resource": {
            "group": "extensions.gardener.cloud",
            "version": "v1alpha1",
            "resource": "operatingsystemconfigs",
        },
        "namespace": NAMESPACE,
        "name": "pool-01",
        "operation": "CREATE",
        "object": osc() if thing is None else thing,
    }
    return base | copy.deepcopy(changes)


def shoot_request(thing: object, **changes: Any) -> dict[str, Any]:
    """The ``request`` of a review of a Shoot."""
    group, version = "core.gardener.cloud", "v1beta1"
    kind = {"group": group, "version": version, "kind": "Shoot"}
    resource = {"group": group, "version": version, "resource": "shoots"}
    return request(thing, kind=kind, resource=resource, namespace="garden-crazy", name="botany") | changes


def review(request: object) -> bytes:
    document = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    return json.dumps(document).encode()


def patch_of(body: bytes) -> list[dict[str, Any]]:
    """The JSON patch in a response; empty when it carries none."""
    response = json.loads(body)["response"]
    if "patch" not in response:
        assert "patchType" not in response
        return []
    assert response["patchType"] == "JSONPatch"
    operations: list[dict[str, Any]] = json.loads(base64.b64decode(response["patch"], validate=True))
    return operations


class Shoot:
    """A Landscape in memory, which remembers what was read; an exception in place of an object is raised."""

    def __init__(self, extension: object, cluster: object, secret: object) -> None:
        self.objects = {"extension": extension, "cluster": cluster, "secret": secret}
        self.reads: list[str] = []

    def extension(self, namespace: str) -> dict[str, Any] | None:
        return self._read("extension")

    def cluster(self, namespace: str) -> dict[str, Any] | None:
        return self._read("cluster")

    def secret(self, namespace: str) -> dict[str, Any] | None:
        return self._read("secret")

    def _read(self, name: str) -> Any:
        self.reads.append(name)
        thing = self.objects[name]
        if isinstance(thing, LandscapeError):
            raise thing
        return thing
