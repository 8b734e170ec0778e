"""A seed: the product's chart, a shoot's API server, and those of Gardener's programs that it works with."""

from __future__ import annotations

from pathlib import Path

from tests.apiserver import ApiServer
from tests.e2e.network import Machine
from tests.e2e.process import wait_until
from tests.e2e.seed.cluster import Cluster
from tests.e2e.seed.ingress import Ingress
from tests.e2e.seed.objects import Objects
from tests.e2e.seed.resource_manager import ResourceManager
from tests.e2e.seed.webhook import Admission
from tests.integration.charts import NAMESPACES, SEED, render

BOOTSTRAPPER = "registry-spegel-bootstrapper"
"""The Deployment's name."""


class ControlPlane:
    """The seed's and the shoot's API servers, both on one machine, and all that follows them."""

    def __init__(self, machine: Machine, directory: Path, logs: Path) -> None:
        self.machine = machine
        self._cluster = Cluster(machine, directory, logs)
        self.seed = self._cluster.objects
        self.kubelet = self._cluster.kubelet
        self.shoot = Objects(ApiServer())
        self.shoot.server.tokens = set()
        machine.call(self.shoot.server.start)
        self.ingress = Ingress(self.seed, self.kubelet, directory, logs)
        self.admission = Admission(self.seed, self.kubelet)
        self._cluster.follow(ResourceManager(self.seed, self.shoot).sync)
        self._cluster.follow(self.ingress.sync)

    def install(self, daemon_image: str) -> None:
        """Install the product's chart, as gardenlet does on a seed that runs nginx."""
        self._cluster.install(NAMESPACES[SEED], render(SEED, _values(daemon_image)))

    def wait_for_webhook(self) -> None:
        """Wait until the webhook is registered, and answers."""
        wait_until(self.admission.is_registered, "a webhook that is registered and ready")

    def wait_for_bootstrapper(self, *, is_ready: bool = True) -> None:
        """Wait until the bootstrapper can be reached, or cannot be reached any more."""

        def look() -> bool:
            pod = self.kubelet.pod(BOOTSTRAPPER)
            return (pod is not None and pod.is_ready and self.ingress.is_ready) is is_ready

        wait_until(look, f"a bootstrapper {'at work' if is_ready else 'that is gone'}")

    def close(self) -> None:
        """End everything; fail when one of the followers has failed."""
        try:
            self._cluster.close()
        finally:
            self.ingress.stop()
            self.shoot.server.stop()


def _values(daemon_image: str) -> dict[str, object]:
    return {
        "image": {"repository": "registry.test/webhook", "tag": "0.1.0"},
        # All pods share the seed's one address.
        "replicaCount": 1,
        "controller": {
            "image": {"repository": "registry.test/controller", "tag": "0.1.0"},
            "replicaCount": 1,
            "settings": {"bootstrapperImage": "registry.test/bootstrapper:0.1.0"},
        },
        "settings": {"daemonImage": daemon_image, "watchdogSeconds": 30},
        "gardener": {"gardenlet": {"featureGates": {"DisableNginxIngressInSeed": False}}},
    }
