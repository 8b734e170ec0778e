"""A garden, where Shoots are validated: the admission charts, installed as an operator does."""

from __future__ import annotations

import base64
from pathlib import Path

from tests.apiserver import Object
from tests.bootstrapper.authority import Authority
from tests.e2e.network import Machine
from tests.e2e.process import wait_until
from tests.e2e.seed.cluster import Cluster
from tests.e2e.seed.webhook import Admission
from tests.integration.charts import APPLICATION, NAMESPACES, RUNTIME, render

_SECRET = "registry-spegel-admission"
_HOST = "gardener-extension-registry-spegel-admission.garden"


class Garden:
    """Runtime and virtual garden, which are one cluster here."""

    def __init__(self, machine: Machine, directory: Path, logs: Path) -> None:
        self._cluster = Cluster(machine, directory, logs)
        authority = Authority(directory / "webhook", "operator")
        pair = authority.issue("serverAuth", names=(f"DNS:{_HOST}",))
        files = {"tls.crt": pair.certificate, "tls.key": pair.key}
        data = {key: base64.b64encode(path.read_bytes()).decode() for key, path in files.items()}
        metadata = {"name": _SECRET, "namespace": NAMESPACES[RUNTIME]}
        secret: Object = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
        values = {
            "image": {"repository": "registry.test/webhook", "tag": "0.1.0"},
            "replicaCount": 1,
            "tls": {"secretName": _SECRET},
        }
        bundle = {"tls": {"caBundle": authority.certificate.read_text()}}
        self._cluster.install(NAMESPACES[RUNTIME], [secret, *render(RUNTIME, values)])
        self._cluster.install(NAMESPACES[APPLICATION], render(APPLICATION, bundle))
        self.admission = Admission(self._cluster.objects, self._cluster.kubelet)

    def wait(self) -> None:
        """Wait until Shoots can be validated."""
        wait_until(self.admission.is_registered, "the webhook of the garden")

    def close(self) -> None:
        """End it."""
        self._cluster.close()
