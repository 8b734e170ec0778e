"""What kubectl and helm lead to: an API server that is garden, runtime cluster, seed and shoot at once.

There is what the examples in manifests/ say, and the controller, which is a real one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.apiserver import ApiServer, Object, Resource
from tests.daemon.cli.program import free_port
from tests.docs.markdown import ROOT
from tests.e2e.process import Process, wait_until

SHOOT = "shoot--local--spegel"
EXTENSION_NAMESPACE = "extension-registry-spegel"
_GARDENER = (
    Resource("core.gardener.cloud", "v1beta1", "Shoot", "shoots"),
    Resource(
        "core.gardener.cloud",
        "v1beta1",
        "ControllerRegistration",
        "controllerregistrations",
        namespaced=False,
    ),
    Resource("core.gardener.cloud", "v1", "ControllerDeployment", "controllerdeployments", namespaced=False),
    Resource("operator.gardener.cloud", "v1alpha1", "Extension", "extensions", namespaced=False),
)
_PODS = (
    (EXTENSION_NAMESPACE, "gardener-extension-registry-spegel"),
    (EXTENSION_NAMESPACE, "gardener-extension-registry-spegel-controller"),
    (SHOOT, "registry-spegel"),
)
"""Namespaces and names, also the values of app.kubernetes.io/name. All log what the controller does."""
_READY = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}


@contextlib.contextmanager
def cluster(directory: Path) -> Iterator[Path]:
    """Run it; yield the kubeconfig that leads there."""
    if shutil.which("kubectl") is None:
        missing("kubectl is not installed (Debian: apt-get install kubernetes-client)")
    with ApiServer(*_objects(), resources=_GARDENER) as server:
        kubeconfig = server.write_kubeconfig(directory / "kubeconfig")
        log = directory / "controller.log"
        with _controller(kubeconfig, log):
            wait_until(lambda: _is_reconciled(server), "the Extension's reconciliation")
            server.logs |= {pod: log.read_text() for _, pod in _PODS}
            yield kubeconfig


def missing(reason: str) -> None:
    """Skip, or fail where CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def _objects() -> Iterator[Object]:
    for name in ("garden-local", "garden", SHOOT):
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    for name in ("cluster", "extension", "shoot"):
        yield yaml.safe_load((ROOT / "manifests/examples" / f"{name}.yaml").read_text())
    yield from map(_node, (1, 2))
    for namespace, name in _PODS:
        yield {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/name": name}},
            "spec": {"containers": [{"name": "main"}]},
        }
    # What the controller registers once the chart has told it to.
    yield {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "gardener-extension-registry-spegel"},
        "webhooks": [],
    }


def _node(number: int) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": f"pool-{number}", "labels": {"topology.kubernetes.io/zone": f"zone-{number}"}},
        "status": {
            "addresses": [{"type": "InternalIP", "address": f"10.0.0.{number}"}],
            "conditions": [_READY],
        },
    }


@contextlib.contextmanager
def _controller(kubeconfig: Path, log: Path) -> Iterator[None]:
    flags = [
        f"--kubeconfig={kubeconfig}",
        f"--namespace={EXTENSION_NAMESPACE}",
        f"--health-port={free_port()}",
    ]
    command = [sys.executable, "-m", "controller", "run", "--address=127.0.0.1", *flags]
    process = Process(command, log, environment=dict(os.environ) | {"PYTHONPATH": str(ROOT)})
    try:
        annotate = ["kubectl", f"--kubeconfig={kubeconfig}", "annotate", f"--namespace={SHOOT}"]
        operation = [
            "extensions.extensions.gardener.cloud/registry-spegel",
            "gardener.cloud/operation=reconcile",
        ]
        subprocess.run([*annotate, *operation], check=True, capture_output=True)
        yield
    finally:
        process.stop()


def _is_reconciled(server: ApiServer) -> bool:
    extensions = server.resources.of(
        {"apiVersion": "extensions.gardener.cloud/v1alpha1", "kind": "Extension"}
    )
    found = server.store.get(extensions, SHOOT, "registry-spegel")
    return (found.get("status") or {}).get("lastOperation", {}).get("state") == "Succeeded"
