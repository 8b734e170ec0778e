"""A cluster of one machine: an API server and a kubelet, and those who follow its objects."""

from __future__ import annotations

import ssl
import threading
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.apiserver import ApiServer, Object
from tests.bootstrapper.authority import Authority
from tests.e2e.network import Machine
from tests.e2e.seed.kubelet import Kubelet
from tests.e2e.seed.objects import OPERATING_SYSTEM_CONFIG, Objects

_API_SERVER = "kubernetes.default.svc"
"""What pods call the API server of their cluster, at port 443."""
_LOOK_AGAIN_SECONDS = 0.5


class Cluster:
    """Runs Deployments from the beginning on; others that follow its objects come with ``follow``."""

    def __init__(self, machine: Machine, directory: Path, logs: Path) -> None:
        self.machine = machine
        authority = Authority(directory / "authority", machine.name)
        pair = authority.issue("serverAuth", names=(f"DNS:{_API_SERVER}", "IP:127.0.0.1"))
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(pair.certificate, pair.key)
        self.objects = Objects(ApiServer(resources=[OPERATING_SYSTEM_CONFIG], tls=tls, port=443))
        self.objects.server.tokens = set()
        hosts = directory / "hosts"
        hosts.write_text(f"127.0.0.1 localhost {_API_SERVER}\n")
        machine.run("mount", "--bind", hosts, "/etc/hosts")
        machine.call(self.objects.server.start)
        trusted = authority.certificate.read_bytes()
        self.kubelet = Kubelet(machine, self.objects, trusted, directory / "pods", logs)
        self._loop = _Loop(self.objects, logs / f"{machine.name}.log")
        self.follow(self.kubelet.sync)

    def install(self, namespace: str, chart: Iterable[Object]) -> None:
        """Create a namespace with the objects of a chart."""
        self.objects.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        for thing in chart:
            self.objects.apply(thing)

    def follow(self, sync: Callable[[], None]) -> None:
        """Call a function again and again, at once when an object has changed."""
        self._loop.functions.append(sync)

    def close(self) -> None:
        """End everything; fail when one of the followers has failed."""
        self._loop.stop()
        self.kubelet.stop()
        self.objects.server.stop()
        assert not self._loop.error, self._loop.error


class _Loop:
    def __init__(self, objects: Objects, log: Path) -> None:
        self.functions: list[Callable[[], None]] = []
        self.error = ""
        self._log = log
        self._store = objects.server.store
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        with self._store.changed:
            self._is_stopping = True
            self._store.changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        seen = 0
        while not self._is_stopping:
            with self._store.changed:
                self._store.changed.wait_for(self._has_more(seen), _LOOK_AGAIN_SECONDS)
                seen = self._store.version
            try:
                for function in list(self.functions):
                    function()
            except Exception:  # noqa: BLE001 - told at the end, when nothing waits for the outcome any more
                self.error = traceback.format_exc()
                self._log.write_text(self.error)

    def _has_more(self, seen: int) -> Callable[[], bool]:
        return lambda: self._is_stopping or self._store.version != seen
