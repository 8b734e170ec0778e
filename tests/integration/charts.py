"""The charts rendered by Helm itself.

helm-python-sdk brings Helm 4, the engine that gardenlet and gardener-operator render with. It runs in a
process of its own, since it carries a Go runtime with threads.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

if find_spec("helm_python") is None:
    MISSING = "helm-python-sdk is not installed: the charts cannot be rendered"
    if os.environ.get("CI") == "true":
        pytest.fail(MISSING)
    pytest.skip(MISSING, allow_module_level=True)

MANIFESTS = Path(__file__).parents[2] / "manifests"
SEED = "gardener-extension-registry-spegel"
RUNTIME = "admission-registry-spegel-runtime"
APPLICATION = "admission-registry-spegel-application"

NAMESPACES = {
    SEED: "extension-registry-spegel-x7k2p",
    RUNTIME: "garden",
    APPLICATION: "extension-registry-spegel",
}
SERVERS = [SEED, RUNTIME]
CHARTS = [SEED, RUNTIME, APPLICATION]

Object = dict[str, Any]

CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
VALUES = {
    "image": {"repository": "registry.example.com/webhook", "tag": "0.1.0"},
    "tls": {"secretName": "serving-certificate", "caBundle": CA},
}
# What only one chart takes, and has to have.
OWN_VALUES: dict[str, dict[str, Any]] = {
    SEED: {"settings": {"daemonImage": "registry.example.com/spegel:0.1.0"}},
    RUNTIME: {},
    APPLICATION: {},
}

CONTROLLER = {"image": {"repository": "registry.example.com/controller", "tag": "0.1.0"}}
KEPT: Object = {"image": VALUES["image"], "controller": CONTROLLER}
"""Values of the seed's chart with a controller that keeps certificate and registration of the webhook."""

HELM = """
import json, sys, helm_python
for line in sys.stdin:
    request = json.loads(line)
    chart, values = request["chart"], request["values"]
    try:
        with helm_python.Chart.load(chart) as loaded:
            files = loaded.render(values, name="spegel", namespace=request["namespace"])
        answer = {"files": files, "findings": helm_python.lint(chart, values, strict=True)["messages"]}
    except helm_python.HelmError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)
"""


@cache
def _helm() -> subprocess.Popen[str]:
    helm = subprocess.Popen(
        [sys.executable, "-c", HELM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(helm.communicate)
    return helm


@cache
def _ask_helm(chart: str, values: str) -> Object:
    given = json.loads(values)
    if chart == SEED:
        # Most of what is said of a chart is said of the webhook.
        given.setdefault("controller", {"enabled": False})
    request = {"chart": str(MANIFESTS / "charts" / chart), "namespace": NAMESPACES[chart], "values": given}
    helm = _helm()
    assert helm.stdin is not None
    assert helm.stdout is not None
    print(json.dumps(request), file=helm.stdin, flush=True)
    return cast("Object", json.loads(helm.stdout.readline()))


def _run_helm(chart: str, values: Object) -> Object:
    own = {name: {**value, **values.get(name, {})} for name, value in OWN_VALUES[chart].items()}
    return _ask_helm(chart, json.dumps(values | own))


def render(chart: str, values: Object = VALUES) -> list[Object]:
    answer = _run_helm(chart, values)
    assert "error" not in answer, answer["error"]
    return [
        document
        for name, text in answer["files"].items()
        if name.endswith(".yaml")
        for document in yaml.safe_load_all(text)
        if document
    ]


def lint(chart: str, values: Object = VALUES) -> list[str]:
    return [finding["error"] for finding in _run_helm(chart, values)["findings"]]


def refusal(chart: str, values: Object, *, with_own_values: bool = True) -> str:
    answer = _run_helm(chart, values) if with_own_values else _ask_helm(chart, json.dumps(values))
    return cast(str, answer["error"])


def one(chart: str, kind: str, values: Object = VALUES) -> Object:
    (found,) = [document for document in render(chart, values) if document["kind"] == kind]
    return found


def with_value(path: str, value: object) -> Object:
    """VALUES with the value at a dotted path replaced."""
    values: Object = json.loads(json.dumps(VALUES))
    *parents, last = path.split(".")
    target = values
    for parent in parents:
        target = target.setdefault(parent, {})
    target[last] = value
    return values


def container(chart: str, values: Object = VALUES) -> Object:
    (found,) = one(chart, "Deployment", values)["spec"]["template"]["spec"]["containers"]
    return cast("Object", found)
