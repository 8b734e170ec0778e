"""Contexts and OperatingSystemConfigs that the tests of the mutation share."""

from __future__ import annotations

import base64
import copy
from pathlib import Path
from typing import Any

import jsonpatch
import yaml

from webhook.mutation import Bootstrap, NodeContext, Ports, Program, mutate

SAMPLES = Path(__file__).parent.parent / "samples"
LOCAL = {"url": "http://localhost:5000", "capabilities": ["pull", "resolve"]}
PORTS = Ports(5000, 5001, 9090)
URL = "https://sp-crazy--botany.ingress.example.com/bootstrap-nodes"


def context(
    *,
    ports: Ports = PORTS,
    resolve_tags: bool = True,
    watchdog_seconds: int = 30,
    url: str | None = URL,
    secret: str | None = "registry-spegel-bootstrap",
) -> NodeContext:
    program = Program("registry.example.com/spegel:v1", "/spegel", watchdog_seconds)
    return NodeContext(ports, resolve_tags, program, Bootstrap(url, secret))


def sample(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load((SAMPLES / name).read_text(), yaml.CSafeLoader)
    return loaded


def small_osc(**spec: Any) -> dict[str, Any]:
    cri = {"name": "containerd", "containerd": {"sandboxImage": "pause:3.10"}}
    return {
        "apiVersion": "extensions.gardener.cloud/v1alpha1",
        "kind": "OperatingSystemConfig",
        "metadata": {"name": "pool", "namespace": "shoot--a--b"},
        "spec": {"type": "gardenlinux", "purpose": "reconcile", "units": [], "files": [], "criConfig": cri}
        | spec,
    }


def with_containerd(**containerd: Any) -> dict[str, Any]:
    containerd = {"sandboxImage": "pause:3.10"} | containerd
    return small_osc(criConfig={"name": "containerd", "containerd": containerd})


def apply(osc: dict[str, Any], node_context: NodeContext | None = None) -> dict[str, Any]:
    """Return the mutated object, as the API server would make it; the input is not touched."""
    patch = mutate(osc, node_context or context()).patch
    result: dict[str, Any] = jsonpatch.apply_patch(copy.deepcopy(osc), patch)
    return result


def file_of(osc: dict[str, Any], path: str) -> dict[str, Any]:
    (found,) = (file for file in osc["spec"]["files"] if file["path"] == path)
    return found


def text_of(file: dict[str, Any]) -> str:
    inline = file["content"]["inline"]
    return base64.b64decode(inline["data"]).decode() if inline["encoding"] == "b64" else inline["data"]


def unit_of(osc: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (unit for unit in osc["spec"]["units"] if unit["name"] == name)
    return found
