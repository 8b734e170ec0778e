"""What the charts register and grant, and which values they take."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from typing import cast

import kubernetes_validate
import pytest
import yaml

import api
from tests.integration.charts import (
    APPLICATION,
    CA,
    CHARTS,
    MANIFESTS,
    RUNTIME,
    SEED,
    SERVERS,
    VALUES,
    Object,
    lint,
    one,
    refusal,
    render,
    with_value,
)
from webhook.context.landscape import EXTENSION, SECRET

KUBERNETES_VERSIONS = ["1.33", "1.35", "1.37"]


# What Kubernetes says


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("chart", CHARTS)
def test_every_object_is_valid_for_kubernetes(chart: str, version: str) -> None:
    checked = [document for document in render(chart) if document["kind"] not in CUSTOM]
    for document in checked:
        kubernetes_validate.validate(document, version, strict=True)
    assert checked


def test_the_validation_would_notice_a_field_that_kubernetes_does_not_know() -> None:
    deployment = one(SEED, "Deployment")
    misspelt = {**deployment, "spec": {**deployment["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(misspelt, KUBERNETES_VERSIONS[-1], strict=True)


def _is_vertical_pod_autoscaler(document: Object, deployment: Object) -> None:
    assert document["apiVersion"] == "autoscaling.k8s.io/v1"
    assert document["spec"]["targetRef"] == {
        "apiVersion": deployment["apiVersion"],
        "kind": "Deployment",
        "name": deployment["metadata"]["name"],
    }
    assert document["spec"]["updatePolicy"] == {"updateMode": "InPlaceOrRecreate"}
    webhook, others = document["spec"]["resourcePolicy"]["containerPolicies"]
    assert webhook["containerName"] == "webhook"
    assert webhook["controlledValues"] == "RequestsOnly"
    assert others == {"containerName": "*", "mode": "Off"}


def _is_service_monitor(document: Object, deployment: Object) -> None:
    assert document["apiVersion"] == "monitoring.coreos.com/v1"
    assert document["spec"]["selector"]["matchLabels"] == deployment["spec"]["selector"]["matchLabels"]
    (endpoint,) = document["spec"]["endpoints"]
    assert endpoint == {
        "port": "webhook",
        "path": "/metrics",
        "scheme": "https",
        "tlsConfig": {"insecureSkipVerify": True},
    }


CUSTOM: dict[str, Callable[[Object, Object], None]] = {
    "VerticalPodAutoscaler": _is_vertical_pod_autoscaler,
    "ServiceMonitor": _is_service_monitor,
}


@pytest.mark.parametrize("kind", CUSTOM)
@pytest.mark.parametrize("chart", SERVERS)
def test_custom_resources(chart: str, kind: str) -> None:
    CUSTOM[kind](one(chart, kind), one(chart, "Deployment"))


@pytest.mark.parametrize(("chart", "prometheus"), [(SEED, "seed"), (RUNTIME, "garden")])
def test_the_prometheus_of_the_cluster_selects_the_service_monitor(chart: str, prometheus: str) -> None:
    metadata = one(chart, "ServiceMonitor")["metadata"]
    assert metadata["labels"]["prometheus"] == prometheus
    assert metadata["name"].startswith(f"{prometheus}-")


@pytest.mark.parametrize(
    ("switch", "kind"),
    [("vpa.enabled", "VerticalPodAutoscaler"), ("metrics.serviceMonitor", "ServiceMonitor")],
)
@pytest.mark.parametrize("chart", SERVERS)
def test_a_cluster_without_the_custom_resource_can_do_without(chart: str, switch: str, kind: str) -> None:
    assert kind not in {document["kind"] for document in render(chart, with_value(switch, value=False))}


# What Helm and an operator say


@pytest.mark.parametrize("chart", CHARTS)
def test_helm_lint_finds_nothing_but_the_missing_icon(chart: str) -> None:
    assert lint(chart) == ["icon is recommended"]


@pytest.mark.parametrize(
    ("chart", "path"),
    [
        *((chart, path) for chart in SERVERS for path in ("image.repository", "image.tag", "tls.secretName")),
        (SEED, "tls.caBundle"),
        (APPLICATION, "tls.caBundle"),
    ],
)
def test_a_missing_value_is_named(chart: str, path: str) -> None:
    assert f"{path} is required: " in refusal(chart, with_value(path, ""))


def test_what_the_nodes_run_is_said_by_the_operator_and_not_by_default() -> None:
    message = refusal(SEED, VALUES, with_own_values=False)
    assert "settings.daemonImage is required: the image that holds the program for the nodes" in message
    assert "/settings/daemonImage" in refusal(SEED, with_value("settings.daemonImage", ""))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("replicas", 2),
        ("replicaCount", 0),
        ("replicaCount", "2"),
        ("image.tag", "not a tag"),
        ("image.pullPolicy", "Sometimes"),
        ("tls.caBundle", "certificate.pem"),
        ("tls.caBundle", CA + "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"),
        ("tls.secretName", "Serving_Certificate"),
        ("resources.requests.memory", "much"),
        ("vpa.enabled", "yes"),
        ("metrics.serviceMonitor", "yes"),
    ],
)
@pytest.mark.parametrize("chart", SERVERS)
def test_a_wrong_value_is_refused_with_its_path(chart: str, path: str, value: object) -> None:
    message = refusal(chart, with_value(path, value))
    assert path.replace(".", "/") in message or f"'{path}' not allowed" in message


def test_what_gardenlet_and_gardener_operator_add_to_the_values_is_accepted() -> None:
    render(SEED, with_value("gardener", {"version": "1.150.0", "seed": {"name": "aws"}, "garden": {}}))
    virtual = {"virtualCluster": {"enabled": True, "namespace": "extension-registry-spegel"}}
    render(APPLICATION, with_value("gardener", virtual))
    runtime = {**virtual, "runtimeCluster": {"priorityClassName": "of-the-operator"}}
    deployment = one(RUNTIME, "Deployment", with_value("gardener", runtime))
    assert deployment["spec"]["template"]["spec"]["priorityClassName"] == "of-the-operator"


@pytest.mark.parametrize(
    ("tag", "separator"), [("0.1.0", ":"), ("sha256:" + "0" * 64, "@")], ids=["tag", "digest"]
)
def test_the_image_is_named_by_tag_or_by_digest(tag: str, separator: str) -> None:
    deployment = one(SEED, "Deployment", with_value("image.tag", tag))
    (webhook,) = deployment["spec"]["template"]["spec"]["containers"]
    assert webhook["image"] == f"registry.example.com/webhook{separator}{tag}"


# What Gardener says


@pytest.mark.parametrize(
    "other",
    [
        "gardener-extension-registry-cache",
        "gardener-extension-image-rewriter",
        "gardener-extension-provider-x",
    ],
)
def test_the_mutation_comes_after_those_that_write_registries(other: str) -> None:
    assert one(SEED, "MutatingWebhookConfiguration")["metadata"]["name"] > other


def test_the_mutation_is_registered_for_operating_system_configs_of_shoots_that_use_the_extension() -> None:
    configuration = one(SEED, "MutatingWebhookConfiguration")
    assert configuration["metadata"]["name"] == SEED
    assert configuration["metadata"]["labels"]["remediation.webhook.shoot.gardener.cloud/exclude"] == "true"
    (webhook,) = configuration["webhooks"]
    client = webhook.pop("clientConfig")
    assert webhook == {
        "name": "registry-spegel.extensions.gardener.cloud",
        "admissionReviewVersions": ["v1"],
        "rules": [
            {
                "apiGroups": ["extensions.gardener.cloud"],
                "apiVersions": ["v1alpha1"],
                "resources": ["operatingsystemconfigs"],
                "operations": ["CREATE", "UPDATE"],
                "scope": "Namespaced",
            }
        ],
        "namespaceSelector": {
            "matchExpressions": [
                {"key": "extensions.gardener.cloud/registry-spegel", "operator": "In", "values": ["true"]}
            ]
        },
        "failurePolicy": "Fail",
        "matchPolicy": "Exact",
        "reinvocationPolicy": "IfNeeded",
        "sideEffects": "None",
        "timeoutSeconds": 10,
    }
    service = one(SEED, "Service")
    assert client["service"] == {
        "name": service["metadata"]["name"],
        "namespace": service["metadata"]["namespace"],
        "port": service["spec"]["ports"][0]["port"],
        "path": "/webhooks/registry-spegel",
    }
    assert b64decode(client["caBundle"]).decode() == CA


def test_the_validation_is_registered_for_shoots_that_use_the_extension() -> None:
    (webhook,) = one(APPLICATION, "ValidatingWebhookConfiguration")["webhooks"]
    client = webhook.pop("clientConfig")
    assert webhook == {
        "name": "validation.registry-spegel.extensions.gardener.cloud",
        "admissionReviewVersions": ["v1"],
        "rules": [
            {
                "apiGroups": ["core.gardener.cloud"],
                "apiVersions": ["v1beta1"],
                "resources": ["shoots"],
                "operations": ["CREATE", "UPDATE"],
                "scope": "Namespaced",
            }
        ],
        "objectSelector": {"matchLabels": {"extensions.extensions.gardener.cloud/registry-spegel": "true"}},
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "sideEffects": "None",
        "timeoutSeconds": 10,
    }
    service = one(RUNTIME, "Service")["metadata"]
    assert client["url"] == f"https://{service['name']}.{service['namespace']}/webhooks/validate-shoot"
    assert b64decode(client["caBundle"]).decode() == CA


def test_the_webhook_may_read_three_objects_of_a_shoot_and_nothing_else() -> None:
    role = one(SEED, "ClusterRole")
    assert role["rules"] == [
        {
            "apiGroups": ["extensions.gardener.cloud"],
            "resources": ["extensions"],
            "resourceNames": [EXTENSION],
            "verbs": ["get"],
        },
        {"apiGroups": ["extensions.gardener.cloud"], "resources": ["clusters"], "verbs": ["get"]},
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": [SECRET],
            "verbs": ["get"],
        },
    ]
    binding = one(SEED, "ClusterRoleBinding")
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    account = one(SEED, "ServiceAccount")["metadata"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
    ]


@pytest.mark.parametrize("chart", [RUNTIME, APPLICATION])
def test_the_garden_grants_nothing(chart: str) -> None:
    assert not [document for document in render(chart) if document["apiVersion"].startswith("rbac.")]


# What the examples say


def example(name: str) -> Object:
    return cast("Object", yaml.safe_load((MANIFESTS / name).read_text()))


def test_the_example_shoot_spells_out_the_defaults() -> None:
    shoot = example("examples/shoot.yaml")["spec"]
    (extension,) = shoot["extensions"]
    networking = shoot["networking"]["type"]
    spelt_out = api.load(extension["providerConfig"], path="providerConfig", networking_type=networking)
    assert spelt_out == api.load(None, path="providerConfig", networking_type=networking)


def test_the_extension_is_enabled_for_all_shoots() -> None:
    extension = example("extension.yaml")
    assert extension["metadata"]["annotations"]["security.gardener.cloud/pod-security-enforce"] == "baseline"
    (resource,) = extension["spec"]["resources"]
    assert resource["kind"] == "Extension"
    assert resource["type"] == "registry-spegel"
    assert resource["autoEnable"] == resource["clusterCompatibility"] == ["shoot"]


def test_the_charts_take_the_values_of_the_extension() -> None:
    deployment = example("extension.yaml")["spec"]["deployment"]
    (reference,) = deployment["resources"]
    admission = deployment["admission"]["values"]
    assert admission["tls"]["caBundle"] == f"{{{{ .resources.{reference['name']}.data.ca }}}}"
    admission["tls"]["caBundle"] = CA
    assert render(RUNTIME, admission)
    assert render(APPLICATION, admission)
    assert deployment["extension"]["values"]["settings"]["daemonImage"]
    assert render(SEED, deployment["extension"]["values"])


@pytest.mark.parametrize("chart", CHARTS)
def test_the_extension_refers_to_the_charts_by_name_and_version(chart: str) -> None:
    described = example(f"charts/{chart}/Chart.yaml")
    reference = f"registry.example.com/charts/{described['name']}:{described['version']}"
    assert described["name"] == chart
    assert reference in (MANIFESTS / "extension.yaml").read_text()
