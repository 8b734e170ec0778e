"""A kubelet in small: runs the pods of Deployments as they are rendered, one replica of each.

A container is a process in a mount namespace of its own, with the entry point that the Dockerfile of its
image names, the arguments and variables of the Deployment and nothing else, and its volumes mounted.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import re
import ssl
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.apiserver import Object
from tests.e2e.network import Machine
from tests.e2e.process import Process
from tests.e2e.seed.objects import Objects, secret_data

ROOT = Path(__file__).parents[3]
_SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_MEMORY = "memory"
"""In place of a directory: an emptyDir."""
_PROBE_AGAIN_SECONDS = 2.0
_RESTART_SECONDS = 2.0
_counter = itertools.count()

Files = Mapping[str, bytes]


class Pod:
    """One container of a Deployment."""

    def __init__(self, machine: Machine, deployment: Object, directory: Path, logs: Path) -> None:
        self.template: Object = deployment["spec"]["template"]
        self.name: str = deployment["metadata"]["name"]
        self.namespace: str = deployment["metadata"]["namespace"]
        (self.container,) = self.template["spec"]["containers"]
        self.process: Process | None = None
        self.is_ready = False
        self._machine = machine
        self._directory = directory
        self._log = logs / f"{self.name}.log"
        self._written: dict[str, Files] = {}
        self._probe_at = 0.0
        self._start_at = 0.0

    def write(self, volume: str, files: Files) -> None:
        """Let a volume hold files, all of them changed at once, as the kubelet does."""
        if self._written.get(volume) == files:
            return
        self._written[volume] = files
        directory = self._directory / "volumes" / volume
        version = directory / f"..{next(_counter)}"
        version.mkdir(parents=True)
        for name, data in files.items():
            (version / name).write_bytes(data)
        link = directory / "..data.new"
        link.symlink_to(version.name)
        link.rename(directory / "..data")
        for name in files:
            with contextlib.suppress(FileExistsError):
                (directory / name).symlink_to(f"..data/{name}")

    def run(self, variables: Mapping[str, str]) -> None:
        """Start it, unless it runs; not at once again when it has ended."""
        if (self.process is None or not self.process.is_running()) and time.monotonic() > self._start_at:
            self._start_at = time.monotonic() + _RESTART_SECONDS
            self._start(variables)

    def stop(self) -> None:
        self.is_ready = False
        if self.process is not None:
            self.process.stop()
            self.process = None

    def probe(self) -> None:
        """Look whether it is ready."""
        probe = self.container.get("readinessProbe")
        if probe is None:
            self.is_ready = self.process is not None and self.process.is_running()
        elif time.monotonic() > self._probe_at:
            self.is_ready = self._machine.call(lambda: self._answers(probe["httpGet"]))
            self._probe_at = time.monotonic() + (_PROBE_AGAIN_SECONDS if self.is_ready else 0)

    def port(self, named: str | int) -> int:
        """Return the number of a port of the container."""
        ports = {port["name"]: port["containerPort"] for port in self.container.get("ports", ())}
        return named if isinstance(named, int) else int(ports[named])

    def _start(self, variables: Mapping[str, str]) -> None:
        mounts: list[tuple[Path | str, str]] = []
        for mount in [*self.container.get("volumeMounts", ()), *self._service_account()]:
            source = self._directory / "volumes" / mount["name"]
            mounts.append((source if source.exists() else _MEMORY, mount["mountPath"]))
        mounts.sort(key=lambda mount: mount[0] == _MEMORY)  # one over /tmp may hide the others' directories
        run = self._directory / f"run-{next(_counter)}"
        run.mkdir()
        kept = dict.fromkeys(map(str, (ROOT, sys.prefix, sys.base_prefix)))
        script = Path(__file__).with_name("pod.sh")
        command: list[str | Path] = ["unshare", "--mount", "bash", script, run, *kept, "--"]
        command += [*itertools.chain.from_iterable(mounts), "--", *self._entry_point()]
        environment = {**variables, **dict(map(self._variable, self.container.get("env", ())))}
        self.process = self._machine.start(command, self._log, environment=environment)

    def _answers(self, probe: Mapping[str, Any]) -> bool:
        address = self._machine.address, self.port(probe["port"])
        connection: http.client.HTTPConnection
        if probe.get("scheme") == "HTTPS":
            unverified = ssl._create_unverified_context()  # as the kubelet's probes are
            connection = http.client.HTTPSConnection(*address, context=unverified, timeout=5)
        else:
            connection = http.client.HTTPConnection(*address, timeout=5)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", probe["path"])
            return connection.getresponse().status < 400
        return False

    def _entry_point(self) -> list[str]:
        component = self.container["image"].rpartition("/")[2].partition(":")[0]
        dockerfile = (ROOT / component / "Dockerfile").read_text()
        (found,) = re.findall(r"^ENTRYPOINT (.*)", dockerfile, re.MULTILINE)
        python, *arguments = json.loads(found)
        assert python == "python"
        return [sys.executable, *arguments, *self.container.get("args", ())]

    def _variable(self, variable: Mapping[str, Any]) -> tuple[str, str]:
        if "valueFrom" in variable:
            fields = {"metadata.namespace": self.namespace, "status.podIP": self._machine.address}
            return variable["name"], fields[variable["valueFrom"]["fieldRef"]["fieldPath"]]
        return variable["name"], variable["value"]

    def _service_account(self) -> list[dict[str, str]]:
        if not self.template["spec"].get("automountServiceAccountToken"):
            return []
        return [{"name": "service-account", "mountPath": _SERVICE_ACCOUNT}]


class Kubelet:
    """Of a seed with one node."""

    def __init__(
        self, machine: Machine, objects: Objects, authority: bytes, directory: Path, logs: Path
    ) -> None:
        self.machine = machine
        self._objects = objects
        self._authority = authority
        self._directory = directory
        self._logs = logs
        self._pods: dict[tuple[str, str], Pod] = {}
        self._held: set[str] = set()

    def sync(self) -> None:
        """Do what is to be done now."""
        wanted = {
            (thing["metadata"]["namespace"], thing["metadata"]["name"]): thing
            for thing in self._objects.all("Deployment")
            if thing["spec"]["replicas"] and thing["metadata"]["name"] not in self._held
        }
        for key, pod in list(self._pods.items()):
            if key not in wanted or wanted[key]["spec"]["template"] != pod.template:
                pod.stop()
                del self._pods[key]
        for deployment in self._objects.all("Deployment"):
            key = deployment["metadata"]["namespace"], deployment["metadata"]["name"]
            if key in wanted:
                self._run(key, deployment)
            status = {"readyReplicas": int(key in self._pods and self._pods[key].is_ready)}
            if deployment.get("status") != status:
                self._objects.change(deployment, {"status": status}, status=True)

    def hold(self, name: str) -> None:
        """Run no pod of a Deployment any more."""
        self._held.add(name)

    def release(self, name: str) -> None:
        """Run the pod again."""
        self._held.discard(name)

    def pod(self, name: str) -> Pod | None:
        """Return the pod of a Deployment."""
        return next((pod for pod in self._pods.values() if pod.name == name), None)

    def port_of(self, namespace: str, service: str, port: int) -> int | None:
        """Return where a Service leads to on this node; None while no pod is ready.

        Raises:
            RefusedError: there is no such Service.
        """
        spec = self._objects.get("Service", namespace, service)["spec"]
        (target,) = [each["targetPort"] for each in spec["ports"] if each["port"] == port]
        for pod in self._pods.values():
            labels = pod.template["metadata"]["labels"]
            if pod.namespace == namespace and pod.is_ready and spec["selector"].items() <= labels.items():
                return pod.port(target)
        return None

    def stop(self) -> None:
        """End all pods."""
        for pod in self._pods.values():
            pod.stop()

    def _run(self, key: tuple[str, str], deployment: Object) -> None:
        volumes = self._volumes(deployment)
        if volumes is None:
            return  # a Secret is not there yet
        pod = self._pods.get(key)
        if pod is None:
            directory = self._directory / f"{key[1]}-{next(_counter)}"
            directory.mkdir(parents=True)
            pod = self._pods[key] = Pod(self.machine, deployment, directory, self._logs)
        for name, files in volumes.items():
            pod.write(name, files)
        pod.run(self._variables(deployment))
        pod.probe()

    def _variables(self, deployment: Object) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
        # The image has the package installed; here it is in the source tree.
        variables = {"PATH": path, "PYTHONPATH": str(ROOT)}
        variables |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
        if deployment["spec"]["template"]["spec"].get("automountServiceAccountToken"):
            address, _, port = self._objects.server.url.removeprefix("https://").partition(":")
            variables |= {"KUBERNETES_SERVICE_HOST": address, "KUBERNETES_SERVICE_PORT": port}
        return variables

    def _volumes(self, deployment: Object) -> dict[str, Files] | None:
        """Return the files of all volumes that have any; None while something is missing."""
        namespace, spec = deployment["metadata"]["namespace"], deployment["spec"]["template"]["spec"]
        volumes: dict[str, Files] = {}
        if spec.get("automountServiceAccountToken"):
            token = spec["serviceAccountName"].encode()
            assert self._objects.server.tokens is not None
            self._objects.server.tokens.add(token.decode())
            account = {"token": token, "ca.crt": self._authority, "namespace": namespace.encode()}
            volumes["service-account"] = account
        for volume in spec.get("volumes", ()):
            if "emptyDir" in volume:
                continue
            sources = volume["projected"]["sources"] if "projected" in volume else [volume]
            files: dict[str, bytes] = {}
            for source in sources:
                found = self._source(namespace, source)
                if found is None:
                    return None
                files |= found
            volumes[volume["name"]] = files
        return volumes

    def _source(self, namespace: str, source: Mapping[str, Any]) -> Files | None:
        if "configMap" in source:
            found = self._objects.find("ConfigMap", namespace, source["configMap"]["name"])
            return found and {key: text.encode() for key, text in found["data"].items()}
        secret = source["secret"]
        found = self._objects.find("Secret", namespace, secret.get("secretName") or secret["name"])
        if found is None:
            return None
        data = secret_data(found)
        items = secret.get("items") or [{"key": key, "path": key} for key in data]
        if any(item["key"] not in data for item in items):
            return None
        return {item["path"]: data[item["key"]] for item in items}
