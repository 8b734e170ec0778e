"""What gardenlet does for one shoot: its objects on the seed, an OperatingSystemConfig, its nodes."""

from __future__ import annotations

import base64
import copy
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from tests.apiserver import Object
from tests.bootstrapper.nodes import node
from tests.controller.seed import is_accepted
from tests.e2e.process import wait_until
from tests.e2e.seed.objects import Objects, secret_data
from tests.e2e.seed.webhook import Admission

SAMPLES = Path(__file__).parents[2] / "samples"
NAMESPACE = "shoot--crazy--botany"
_EXTENSION = "registry-spegel"
_KUBECONFIG = "generic-token-kubeconfig-0a1b2c3d"
_TOKEN_FILE = "/var/run/secrets/gardener.cloud/shoot/generic-kubeconfig/token"
_MANAGER = f"gardener-extension-{_EXTENSION}"
_LABEL = f"extensions.gardener.cloud/{_EXTENSION}"


class Gardenlet:
    """Of the seed.

    Args:
        seed: its API server.
        shoot: the shoot's.
        admission: calls the webhooks for OperatingSystemConfigs.
        directory: for files.
        containerd: ``criConfig.containerd`` as it is before this project's webhook has seen it.
    """

    def __init__(
        self, seed: Objects, shoot: Objects, admission: Admission, directory: Path, *, containerd: Object
    ) -> None:
        self._seed = seed
        self._shoot = shoot
        self._admission = admission
        self._directory = directory
        self._containerd = containerd

    def create(self) -> None:
        """Make the objects of the shoot, but for Extension and OperatingSystemConfig."""
        self._seed.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        cluster = _sample("cluster.yaml")
        annotation = "generic-token-kubeconfig.secret.gardener.cloud/name"
        cluster["metadata"]["annotations"] = {annotation: _KUBECONFIG}
        self._seed.apply(cluster)
        kubeconfig = self._shoot.server.write_kubeconfig(self._directory / _KUBECONFIG, tokenFile=_TOKEN_FILE)
        self._secret(_KUBECONFIG, kubeconfig=kubeconfig.read_bytes())
        self._secret("osc-secret-a1b2", token=b"of valitail")

    def enable(self) -> None:
        """Switch the extension on for the shoot, and wait until it has what it needs."""
        self._label_namespace({_LABEL: "true"})
        self._seed.apply(_asking(_sample("extension.yaml")))
        self.wait_for_extension()

    def shoot(self, config: Object | None) -> Object:
        """Return the Shoot as it would be with a configuration of the extension."""
        shoot: Object = copy.deepcopy(self._cluster()["spec"]["shoot"])
        shoot["metadata"]["labels"] = {f"extensions.{_LABEL}": "true"}
        for extension in shoot["spec"]["extensions"]:
            if extension["type"] == _EXTENSION:
                extension["providerConfig"] = config
        return shoot

    def configure(self, shoot: Object) -> None:
        """Let the seed know a changed Shoot, and wait until the Extension is reconciled with it."""
        cluster = self._cluster()
        self._seed.change(cluster, {"spec": {**cluster["spec"], "shoot": shoot}})
        (config,) = [
            each.get("providerConfig") for each in shoot["spec"]["extensions"] if each["type"] == _EXTENSION
        ]
        extension = self._extension()
        spec = {**extension["spec"], "providerConfig": config}
        self._seed.change(extension, {"spec": spec, "metadata": _asking(extension)["metadata"]})
        self.wait_for_extension()

    def disable(self) -> None:
        """Switch the extension off for the shoot, and wait until all that it had is gone."""
        self._label_namespace({})
        self._seed.delete("Extension", NAMESPACE, _EXTENSION)
        wait_until(lambda: self._find_extension() is None, "the end of the Extension")

    def leftovers(self) -> list[str]:
        """Return kind and name of all objects on the seed that the extension has made in the namespace."""
        kinds = ("Secret", "ManagedResource", "Deployment", "Service", "Ingress", "PodDisruptionBudget")
        return [
            f"{thing['kind']} {thing['metadata']['name']}"
            for kind in kinds
            for thing in self._seed.all(kind, NAMESPACE)
            if (thing["metadata"].get("labels") or {}).get("app.kubernetes.io/managed-by") == _MANAGER
        ]

    def reconcile_extension(self) -> None:
        """Ask for a reconciliation of the Extension, and wait for it."""
        extension = self._extension()
        self._seed.change(extension, {"metadata": _asking(extension)["metadata"]})
        self.wait_for_extension()

    def wait_for_extension(self) -> None:
        """Wait until what was asked of the Extension has succeeded, as gardenlet sees it."""
        wait_until(lambda: is_accepted(self._extension()), "the reconciliation of the Extension")

    def rotate_authorities(self, phase: str, initiated: datetime) -> None:
        """Let the Shoot be in a phase of a rotation of its certificate authorities."""
        cluster = copy.deepcopy(self._cluster())
        rotation = cluster["spec"]["shoot"]["status"]["credentials"]["rotation"]
        rotation["certificateAuthorities"] = {
            "phase": phase,
            "lastInitiationTime": initiated.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        self._seed.change(cluster, {"spec": cluster["spec"]})

    def config(self) -> Object:
        """Write the OperatingSystemConfig of the shoot's nodes, and return what they get.

        Each call writes the spec anew; it goes through the webhooks, and secretRefs are replaced by what the
        Secrets hold.

        Raises:
            DeniedError: a webhook does not allow it.
        """
        config = self._plain_config()
        name = config["metadata"]["name"]
        old = self._seed.find("OperatingSystemConfig", NAMESPACE, name)
        admitted = self._admission.admit(config, old)
        if old is None:
            self._seed.apply(admitted)
        else:
            self._seed.change(old, {"spec": admitted["spec"]})
        found = copy.deepcopy(self._seed.get("OperatingSystemConfig", NAMESPACE, name))
        for file in found["spec"]["files"]:
            if reference := file["content"].get("secretRef"):
                file["content"] = self._resolved(reference)
        return found

    def written_config(self) -> Object:
        """Return the OperatingSystemConfig as it is on the seed, where secretRefs stand."""
        (config,) = self._seed.all("OperatingSystemConfig", NAMESPACE)
        return config

    def register(self, name: str, address: str) -> None:
        """Let a node be known to the shoot's API server, as its kubelet does."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        thing = node(name, address, since=now)
        del thing["metadata"]["creationTimestamp"]
        self._shoot.server.create(thing)

    def deregister(self, name: str) -> None:
        """Let a node be forgotten."""
        self._shoot.delete("Node", None, name)

    def bootstrap_secret(self) -> dict[str, bytes]:
        """Return what nodes need to reach the bootstrapper."""
        return secret_data(self._seed.get("Secret", NAMESPACE, "registry-spegel-bootstrap"))

    def _cluster(self) -> Object:
        return self._seed.get("Cluster", None, NAMESPACE)

    def _label_namespace(self, labels: Mapping[str, str]) -> None:
        namespace = self._seed.get("Namespace", None, NAMESPACE)
        self._seed.change(namespace, {"metadata": {**namespace["metadata"], "labels": dict(labels)}})

    def _find_extension(self) -> Object | None:
        return self._seed.find("Extension", NAMESPACE, _EXTENSION)

    def _extension(self) -> Object:
        return self._seed.get("Extension", NAMESPACE, _EXTENSION)

    def _plain_config(self) -> Object:
        """The sample, without what needs programs of Gardener's images."""
        config: Object = _sample("osc-plain.yaml")
        spec = config["spec"]
        dropped = {file["path"] for file in spec["files"] if "imageRef" in file["content"]}
        spec["files"] = [file for file in spec["files"] if file["path"] not in dropped]
        spec["units"] = [unit for unit in spec["units"] if "content" not in unit]
        spec["criConfig"]["containerd"] = copy.deepcopy(self._containerd)
        metadata = config["metadata"]
        config["metadata"] = {key: metadata[key] for key in ("name", "namespace", "labels")}
        config.pop("status")
        return config

    def _resolved(self, reference: Mapping[str, str]) -> Object:
        data = secret_data(self._seed.get("Secret", NAMESPACE, reference["name"]))
        text = base64.b64encode(data.get(reference["dataKey"], b"")).decode()
        return {"inline": {"encoding": "b64", "data": text}}

    def _secret(self, name: str, **data: bytes) -> None:
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        metadata = {"name": name, "namespace": NAMESPACE}
        self._seed.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded})


def _sample(name: str) -> Any:
    return yaml.safe_load((SAMPLES / name).read_text())


def _asking(extension: Object) -> Object:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"
    asked = {"gardener.cloud/operation": "reconcile", "gardener.cloud/timestamp": now}
    metadata = extension["metadata"]
    return {**extension, "metadata": {**metadata, "annotations": {**metadata["annotations"], **asked}}}
