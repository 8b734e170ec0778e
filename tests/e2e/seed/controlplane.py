"""A seed: API servers, the product's chart, and those of Gardener's programs that it works with."""

from __future__ import annotations

import ssl
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.apiserver import ApiServer
from tests.bootstrapper.authority import Authority
from tests.e2e.network import Machine
from tests.e2e.process import wait_until
from tests.e2e.seed.ingress import Ingress
from tests.e2e.seed.kubelet import Kubelet
from tests.e2e.seed.objects import OPERATING_SYSTEM_CONFIG, Objects
from tests.e2e.seed.resource_manager import ResourceManager
from tests.e2e.seed.webhook import Admission
from tests.integration.charts import NAMESPACES, SEED, render

BOOTSTRAPPER = "registry-spegel-bootstrapper"
"""The Deployment's name."""
_API_SERVER = "kubernetes.default.svc"
"""What pods call the API server of their cluster, at port 443."""
_LOOK_AGAIN_SECONDS = 0.5


class ControlPlane:
    """The seed's and the shoot's API servers, both on one machine, and all that follows them."""

    def __init__(self, machine: Machine, directory: Path, logs: Path) -> None:
        self.machine = machine
        authority = Authority(directory / "authority", "seed")
        pair = authority.issue("serverAuth", names=(f"DNS:{_API_SERVER}", "IP:127.0.0.1"))
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(pair.certificate, pair.key)
        self.seed = Objects(ApiServer(resources=[OPERATING_SYSTEM_CONFIG], tls=tls, port=443))
        self.shoot = Objects(ApiServer())
        hosts = directory / "hosts"
        hosts.write_text(f"127.0.0.1 localhost {_API_SERVER}\n")
        machine.run("mount", "--bind", hosts, "/etc/hosts")
        for objects in (self.seed, self.shoot):
            objects.server.tokens = set()
            machine.call(objects.server.start)
        self.kubelet = Kubelet(
            machine, self.seed, authority.certificate.read_bytes(), directory / "pods", logs
        )
        self.ingress = Ingress(self.seed, self.kubelet, directory, logs)
        self.admission = Admission(self.seed, self.kubelet)
        manager = ResourceManager(self.seed, self.shoot)
        self._loop = _Loop(logs / "seed.log", self.seed, manager.sync, self.kubelet.sync, self.ingress.sync)

    def install(self, daemon_image: str) -> None:
        """Install the product's chart, as gardenlet does on a seed that runs nginx."""
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACES[SEED]}}
        self.seed.apply(namespace)
        for thing in render(SEED, _values(daemon_image)):
            self.seed.apply(thing)

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
        self._loop.stop()
        self.ingress.stop()
        self.kubelet.stop()
        for objects in (self.seed, self.shoot):
            objects.server.stop()
        self._loop.check()


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


class _Loop:
    """Calls functions again and again, at once when an object has changed."""

    def __init__(self, log: Path, objects: Objects, *functions: Callable[[], None]) -> None:
        self._log = log
        self._store = objects.server.store
        self._functions = functions
        self._is_stopping = False
        self._error = ""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        with self._store.changed:
            self._is_stopping = True
            self._store.changed.notify_all()
        self._thread.join()

    def check(self) -> None:
        assert not self._error, self._error

    def _run(self) -> None:
        seen = 0
        while not self._is_stopping:
            with self._store.changed:
                self._store.changed.wait_for(self._has_more(seen), _LOOK_AGAIN_SECONDS)
                seen = self._store.version
            try:
                for function in self._functions:
                    function()
            except Exception:  # noqa: BLE001 - told at the end, when nothing waits for the outcome any more
                self._error = traceback.format_exc()
                self._log.write_text(self._error)

    def _has_more(self, seen: int) -> Callable[[], bool]:
        return lambda: self._is_stopping or self._store.version != seen
