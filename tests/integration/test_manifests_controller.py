"""The seed's chart with the controller: its pods, its rights, and the webhook that it keeps registered."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from controller.objects import names
from controller.operator import heartbeat, webhook
from controller.operator.run import LEADER_LEASE
from controller.settings import ControllerSettings
from serving.settings import load
from tests.integration.charts import (
    CA,
    KEPT,
    MANIFESTS,
    NAMESPACES,
    SEED,
    VALUES,
    Object,
    lint,
    refusal,
    render,
)
from tests.integration.test_manifests import KUBERNETES_VERSIONS

NAME = f"{SEED}-controller"
NAMESPACE = NAMESPACES[SEED]
LEFT_TO_OTHERS: Object = {**KEPT, "tls": VALUES["tls"]}
"""Values with a controller that has nothing to do with the webhook's certificate."""
KINDS = {
    "Deployment",
    "PodDisruptionBudget",
    "VerticalPodAutoscaler",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
}


def with_controller(change: Object, values: Object = KEPT) -> Object:
    return {**values, "controller": {**values["controller"], **change}}


def one(kind: str, values: Object = KEPT, name: str = NAME) -> Object:
    (found,) = [
        document
        for document in render(SEED, values)
        if (document["kind"], document["metadata"]["name"]) == (kind, name)
    ]
    return found


def container(values: Object = KEPT) -> Object:
    (found,) = one("Deployment", values)["spec"]["template"]["spec"]["containers"]
    return dict(found)


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("values", [KEPT, LEFT_TO_OTHERS], ids=["kept", "left to others"])
def test_every_object_is_valid_for_kubernetes(values: Object, version: str) -> None:
    documents = render(SEED, values)
    assert {document["kind"] for document in documents if document["metadata"]["name"] == NAME} >= KINDS
    for document in documents:
        if document["kind"] not in {"VerticalPodAutoscaler", "ServiceMonitor", "PrometheusRule"}:
            kubernetes_validate.validate(document, version, strict=True)
    assert lint(SEED, values) == ["icon is recommended"]


def test_everything_that_selects_the_pods_selects_them_and_not_those_of_the_webhook() -> None:
    deployment = one("Deployment")["spec"]
    selector = deployment["selector"]["matchLabels"]
    labels = deployment["template"]["metadata"]["labels"]
    assert selector.items() <= labels.items()
    assert one("PodDisruptionBudget")["spec"]["selector"] == {"matchLabels": selector}
    assert one("VerticalPodAutoscaler")["spec"]["targetRef"]["name"] == NAME
    (spread,) = deployment["template"]["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"] == {"matchLabels": selector}
    other = one("Deployment", name=SEED)["spec"]
    assert not other["selector"]["matchLabels"].items() <= labels.items()
    assert not selector.items() <= other["template"]["metadata"]["labels"].items()


def test_the_pod_is_restricted_and_may_call_the_api_server_of_the_seed() -> None:
    template = one("Deployment")["spec"]["template"]
    for allowed in ("to-dns", "to-runtime-apiserver"):
        assert template["metadata"]["labels"][f"networking.gardener.cloud/{allowed}"] == "allowed"
    pod = template["spec"]
    assert pod["priorityClassName"] == "gardener-system-900"
    assert pod["serviceAccountName"] == NAME
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_there_are_two_replicas_of_which_one_may_be_missing() -> None:
    deployment = one("Deployment")
    assert deployment["spec"]["replicas"] == 2
    labels = deployment["metadata"]["labels"]
    assert labels["high-availability-config.resources.gardener.cloud/type"] == "controller"
    assert one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_without_controller_there_is_none_of_it() -> None:
    assert not [document for document in render(SEED) if document["metadata"]["name"] == NAME]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (with_controller({"image": {"tag": "0.1.0"}}), "controller.image.repository is required: "),
        (with_controller({"image": {"repository": "registry.example.com/x"}}), "controller.image.tag is req"),
        ({**KEPT, "controller": {"enabled": False}}, "tls.secretName is required: the controller"),
        ({**KEPT, "tls": {"caBundle": CA}}, "tls.secretName is required: tls.caBundle is given"),
        ({**KEPT, "tls": {"secretName": "serving"}}, "tls.caBundle is required: "),
        (with_controller({"replicaCount": 0}), "controller/replicaCount"),
        (with_controller({"settings": {"exposure": "traefik"}}), "controller/settings/exposure"),
        (with_controller({"settings": {"healthPort": 1}}), "healthPort"),
    ],
)
def test_values_that_do_not_go_together_are_refused(values: Object, message: str) -> None:
    assert message in refusal(SEED, values)


# Its figures


def test_the_seeds_prometheus_finds_the_pods_and_may_ask_them() -> None:
    template = one("Deployment")["spec"]["template"]
    (port,) = container()["ports"]
    annotations = template["metadata"]["annotations"]
    found = {key: value for key, value in annotations.items() if key.startswith("prometheus.io/")}
    number = str(port["containerPort"])
    assert found == {
        "prometheus.io/name": NAME,
        "prometheus.io/scrape": "true",
        "prometheus.io/port": number,
    }
    service = one("Service")
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    prefix = "networking.resources.gardener.cloud"
    allowed = service["metadata"]["annotations"][f"{prefix}/from-all-seed-scrape-targets-allowed-ports"]
    assert json.loads(allowed) == [{"port": port["containerPort"], "protocol": "TCP"}]
    other = one("Service", name=SEED)["metadata"]["annotations"]
    for name in ("namespace-selectors", "pod-label-selector-namespace-alias"):
        assert service["metadata"]["annotations"][f"{prefix}/{name}"] == other[f"{prefix}/{name}"]


def test_the_seeds_prometheus_has_rules_unless_told_otherwise() -> None:
    rule = one("PrometheusRule", name=f"seed-{SEED}")
    assert rule["metadata"]["labels"]["prometheus"] == "seed"
    file = MANIFESTS / "charts" / SEED / "rules/seed.yaml"
    assert rule["spec"] == yaml.safe_load(file.read_text())
    without = {document["kind"] for document in render(SEED, {**KEPT, "metrics": {"rules": False}})}
    assert "PrometheusRule" not in without


# The webhook's certificate and registration


def test_the_controller_registers_what_the_chart_would_register() -> None:
    text = one("ConfigMap")["data"]["registration.yaml"]
    registration = yaml.safe_load(text)
    (entry,) = registration["webhooks"]
    assert "caBundle" not in entry["clientConfig"]
    entry["clientConfig"]["caBundle"] = one("MutatingWebhookConfiguration", LEFT_TO_OTHERS, SEED)["webhooks"][
        0
    ]["clientConfig"]["caBundle"]
    assert registration == one("MutatingWebhookConfiguration", LEFT_TO_OTHERS, SEED)
    assert "MutatingWebhookConfiguration" not in {document["kind"] for document in render(SEED, KEPT)}
    service = one("Service", name=SEED)
    assert entry["clientConfig"]["service"]["name"] == service["metadata"]["name"]


def test_the_controller_reads_the_registration_where_it_is_mounted() -> None:
    variables = {variable["name"]: variable.get("value") for variable in container()["env"]}
    file = Path(str(variables["CONTROLLER_WEBHOOK_REGISTRATION"]))
    (mount,) = container()["volumeMounts"]
    (volume,) = one("Deployment")["spec"]["template"]["spec"]["volumes"]
    assert Path(mount["mountPath"]) == file.parent
    assert volume["configMap"]["name"] == one("ConfigMap")["metadata"]["name"]
    assert file.name in one("ConfigMap")["data"]


def test_the_webhook_serves_with_the_certificate_that_the_controller_makes() -> None:
    def secret_of(values: Object) -> object:
        volumes = one("Deployment", values, SEED)["spec"]["template"]["spec"]["volumes"]
        (found,) = [volume["secret"]["secretName"] for volume in volumes if volume["name"] == "tls"]
        return found

    assert secret_of(KEPT) == webhook.CERTIFICATE_SECRET
    assert secret_of(LEFT_TO_OTHERS) == "serving-certificate"
    assert "CONTROLLER_WEBHOOK_REGISTRATION" not in json.dumps(one("Deployment", LEFT_TO_OTHERS))


# Its rights

Right = tuple[str, str, str | None, str]
"""API group, resource, name (None for all), verb."""


def rights(role: Object) -> Iterator[Right]:
    for rule in role["rules"]:
        yield from product(
            rule["apiGroups"], rule["resources"], rule.get("resourceNames", [None]), rule["verbs"]
        )


def test_rights_on_secrets_and_managed_resources_of_shoots_are_on_those_of_the_extension_alone() -> None:
    granted = set(rights(one("ClusterRole")))
    secrets = {*names.SECRETS, *map(names.managed_resource_secret, names.MANAGED_RESOURCES)}
    for resource, known in (("secrets", secrets), ("managedresources", set(names.MANAGED_RESOURCES))):
        for verb in ("get", "patch", "delete"):
            assert {right[2] for right in granted if (right[1], right[3]) == (resource, verb)} == known
    assert {right[3] for right in granted if right[1] == "secrets" and right[2] is None} == {"create"}


def test_nothing_may_be_done_to_everything() -> None:
    for role in (one("ClusterRole"), one("Role")):
        assert "*" not in {part for right in rights(role) for part in right}
        changing = {right for right in rights(role) if right[3] in {"patch", "update", "delete"}}
        assert all(name is not None for _, _, name, _ in changing)


def test_in_its_own_namespace_it_keeps_leases_and_the_webhooks_certificate() -> None:
    named = {(resource, name) for _, resource, name, _ in rights(one("Role")) if name is not None}
    assert named == {
        ("leases", LEADER_LEASE),
        ("leases", heartbeat.NAME),
        ("secrets", webhook.AUTHORITY_SECRET),
        ("secrets", webhook.CERTIFICATE_SECRET),
    }


def test_what_is_left_to_others_needs_no_rights() -> None:
    granted = {right for kind in ("ClusterRole", "Role") for right in rights(one(kind, LEFT_TO_OTHERS))}
    assert not {resource for _, resource, _, _ in granted} & {"mutatingwebhookconfigurations", "namespaces"}
    assert not {name for _, _, name, _ in granted} & {webhook.AUTHORITY_SECRET, webhook.CERTIFICATE_SECRET}


@pytest.mark.parametrize("kind", ["ClusterRole", "Role"])
def test_the_rights_are_those_of_the_pods_account(kind: str) -> None:
    binding = one(f"{kind}Binding")
    assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == (kind, NAME)
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}]


# Its settings

FIXED = {"namespace", "kubeconfig", "webhook_registration", "health_port"}
SAMPLE: Object = {
    "bootstrapperImage": "registry.example.com/bootstrapper:0.1.0",
    "exposure": "nginx",
    "istioNamespace": "istio-ingress-2",
    "hostPrefix": "spegel",
    "workers": 7,
    "address": "::",
    "logLevel": "debug",
}
KEYWORDS = {"type", "enum", "pattern", "maxLength", "minimum", "exclusiveMinimum", "maximum"}


def in_camel_case(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(word.title() for word in tail)


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Callable[[Object], ControllerSettings]:
    """Load the settings as in a pod of these values."""

    def enter(values: Object) -> ControllerSettings:
        for name in [name for name in os.environ if name.startswith("CONTROLLER_")]:
            monkeypatch.delenv(name)
        for variable in container(values)["env"]:
            value = variable.get("value", NAMESPACE)
            monkeypatch.setenv(variable["name"], value)
        return load(ControllerSettings, {})

    return enter


def test_the_settings_are_those_of_the_values(settings: Callable[[Object], ControllerSettings]) -> None:
    loaded = settings(with_controller({"settings": SAMPLE}))
    dumped = {in_camel_case(name): value for name, value in loaded.model_dump(mode="json").items()}
    assert dumped.items() >= SAMPLE.items()
    assert loaded.namespace == NAMESPACE
    probe = container()["livenessProbe"]["httpGet"]
    (port,) = container()["ports"]
    assert probe["port"] == port["name"]
    assert loaded.health_port == port["containerPort"]


@pytest.mark.parametrize(
    ("gates", "explicit", "exposure"),
    [
        (None, {}, "istio"),
        ({}, {}, "istio"),
        ({"DisableNginxIngressInSeed": True}, {}, "istio"),
        ({"DisableNginxIngressInSeed": False}, {}, "nginx"),
        ({"DisableNginxIngressInSeed": False}, {"exposure": "istio"}, "istio"),
    ],
)
def test_the_exposure_follows_the_feature_gate_of_gardenlet_unless_said_otherwise(
    settings: Callable[[Object], ControllerSettings], gates: Any, explicit: Object, exposure: str
) -> None:
    gardener = {} if gates is None else {"gardenlet": {"featureGates": gates}}
    values = with_controller({"settings": explicit}) | {"gardener": gardener}
    assert settings(values).exposure == exposure


def test_the_chart_refuses_the_settings_that_the_controller_would_refuse() -> None:
    file = MANIFESTS / "charts" / SEED / "values.schema.json"
    described = json.loads(file.read_text())["properties"]["controller"]["properties"]["settings"]
    schema = ControllerSettings.model_json_schema()

    def constraints(field: Object) -> Object:
        found = field.get("anyOf", [field])[0]
        if "$ref" in found:
            found = schema["$defs"][found["$ref"].rpartition("/")[2]]
        return {keyword: found[keyword] for keyword in KEYWORDS & found.keys()}

    assert described["additionalProperties"] is False
    assert described["properties"] == {
        in_camel_case(name): constraints(field)
        for name, field in schema["properties"].items()
        if name not in FIXED
    }
