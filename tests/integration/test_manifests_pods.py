"""The pods that the charts run: how they are reached, what they may do, how they are set up."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from unittest.mock import create_autospec
from urllib.parse import urlsplit

import pytest

from serving.settings import load
from tests.integration.charts import (
    APPLICATION,
    MANIFESTS,
    RUNTIME,
    SEED,
    SERVERS,
    Object,
    container,
    one,
    with_value,
)
from webhook.context.landscape import Landscape
from webhook.server.app import create_app
from webhook.settings import ProgramSettings, ServerSettings


@pytest.mark.parametrize(
    ("chart", "callers"),
    [
        (SEED, ["from-world-to-ports", "from-all-seed-scrape-targets-allowed-ports"]),
        (RUNTIME, ["from-all-webhook-targets-allowed-ports", "from-all-garden-scrape-targets-allowed-ports"]),
    ],
)
def test_network_policies_open_the_port_of_the_container(chart: str, callers: list[str]) -> None:
    annotations = one(chart, "Service")["metadata"]["annotations"]
    (port,) = container(chart)["ports"]
    for caller in callers:
        opened = json.loads(annotations[f"networking.resources.gardener.cloud/{caller}"])
        assert opened == [{"port": port["containerPort"], "protocol": port["protocol"]}]


def test_pods_on_the_seed_may_call_its_api_server() -> None:
    template = one(SEED, "Deployment")["spec"]["template"]
    assert template["metadata"]["labels"]["networking.gardener.cloud/to-runtime-apiserver"] == "allowed"
    assert template["metadata"]["labels"]["networking.gardener.cloud/to-dns"] == "allowed"
    assert template["spec"]["priorityClassName"] == "gardener-system-900"


@pytest.mark.parametrize("chart", SERVERS)
def test_everything_that_selects_the_pods_selects_them_all(chart: str) -> None:
    deployment = one(chart, "Deployment")["spec"]
    template = deployment["template"]
    selector = deployment["selector"]["matchLabels"]
    assert selector.items() <= template["metadata"]["labels"].items()
    assert one(chart, "Service")["spec"]["selector"] == selector
    assert one(chart, "PodDisruptionBudget")["spec"]["selector"] == {"matchLabels": selector}
    (spread,) = template["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"] == {"matchLabels": selector}
    antiaffinity = template["spec"]["affinity"]["podAntiAffinity"]
    (preferred,) = antiaffinity["preferredDuringSchedulingIgnoredDuringExecution"]
    assert preferred["podAffinityTerm"]["labelSelector"] == {"matchLabels": selector}


@pytest.mark.parametrize("chart", SERVERS)
def test_port_443_of_the_service_leads_to_the_port_the_webhook_listens_on(chart: str) -> None:
    (port,) = one(chart, "Service")["spec"]["ports"]
    (listening,) = container(chart)["ports"]
    assert port["port"] == 443
    assert port["targetPort"] == listening["name"]
    assert listening["containerPort"] == 10250
    assert one(chart, "ServiceMonitor")["spec"]["endpoints"][0]["port"] == port["name"]


@pytest.mark.parametrize("chart", SERVERS)
def test_the_pod_is_restricted(chart: str) -> None:
    pod = one(chart, "Deployment")["spec"]["template"]["spec"]
    identity = pod["securityContext"]
    assert identity["runAsNonRoot"] is True
    assert identity["runAsUser"] == identity["runAsGroup"] == identity["fsGroup"] == 65532
    assert identity["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(chart)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert one(chart, "ServiceAccount")["automountServiceAccountToken"] is False


@pytest.mark.parametrize("chart", SERVERS)
def test_one_pod_at_a_time_may_be_missing(chart: str) -> None:
    deployment = one(chart, "Deployment")
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert (
        deployment["metadata"]["labels"]["high-availability-config.resources.gardener.cloud/type"] == "server"
    )
    budget = one(chart, "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_every_path_that_is_asked_for_is_a_route_of_the_webhook() -> None:
    app = create_app(load(ServerSettings, {"address": "127.0.0.1"}), create_autospec(Landscape), lambda: None)
    routes = {(method, rule.rule) for rule in app.url_map.iter_rules() for method in rule.methods or ()}
    (mutation,) = one(SEED, "MutatingWebhookConfiguration")["webhooks"]
    (validation,) = one(APPLICATION, "ValidatingWebhookConfiguration")["webhooks"]
    assert ("POST", mutation["clientConfig"]["service"]["path"]) in routes
    assert ("POST", urlsplit(validation["clientConfig"]["url"]).path) in routes
    for chart in SERVERS:
        (scraped,) = one(chart, "ServiceMonitor")["spec"]["endpoints"]
        assert ("GET", scraped["path"]) in routes
        for probe in ("livenessProbe", "readinessProbe"):
            asked = container(chart)[probe]["httpGet"]
            assert ("GET", asked["path"]) in routes
            assert asked["scheme"] == "HTTPS"
            assert asked["port"] == container(chart)["ports"][0]["name"]


# The webhook's settings

FIXED = {"port", "tls_certificate", "tls_key", "kubeconfig", "shutdown_timeout_seconds"}
SETTINGS = {
    SEED: ServerSettings.model_fields.keys() - FIXED,
    RUNTIME: ServerSettings.model_fields.keys() - FIXED - ProgramSettings.model_fields.keys(),
}
SAMPLE: dict[str, Object] = {
    RUNTIME: {
        "address": "::",
        "workers": 2,
        "maxBodyBytes": 100_000_000,
        "cacheSeconds": 2.5,
        "logLevel": "debug",
    }
}
SAMPLE[SEED] = SAMPLE[RUNTIME] | {"daemonImage": "ghcr.io/spegel-org/spegel:v0.4.0", "watchdogSeconds": 0}
KEYWORDS = {"type", "enum", "pattern", "maxLength", "minimum", "exclusiveMinimum", "maximum"}


def in_camel_case(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(word.title() for word in tail)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Object], None]:
    """Set the environment as a chart's container would have it."""

    def enter(chart: str, settings: Object) -> None:
        for name in [name for name in os.environ if name.startswith("WEBHOOK_")]:
            monkeypatch.delenv(name)
        for variable in container(chart, with_value("settings", settings))["env"]:
            monkeypatch.setenv(variable["name"], variable["value"])

    return enter


@pytest.mark.parametrize("chart", SERVERS)
def test_every_variable_is_a_setting(chart: str) -> None:
    known = {"WEBHOOK_" + name.upper() for name in ServerSettings.model_fields}
    values = with_value("settings", SAMPLE[chart])
    variables = {variable["name"] for variable in container(chart, values)["env"]}
    assert len(variables) > len(SAMPLE[chart])
    assert variables <= known


@pytest.mark.parametrize("chart", SERVERS)
def test_the_webhook_serves_on_the_port_and_with_the_certificate_of_the_pod(
    chart: str, environment: Callable[[str, Object], None]
) -> None:
    environment(chart, {})
    settings = load(ServerSettings, {})
    (port,) = container(chart)["ports"]
    assert settings.port == port["containerPort"]
    (mount,) = [mount for mount in container(chart)["volumeMounts"] if mount["name"] == "tls"]
    assert settings.tls_certificate == Path(mount["mountPath"], "tls.crt")
    assert settings.tls_key == Path(mount["mountPath"], "tls.key")


@pytest.mark.parametrize("chart", SERVERS)
def test_requests_under_way_end_before_the_pod_is_killed(
    chart: str, environment: Callable[[str, Object], None]
) -> None:
    environment(chart, {})
    pause = container(chart)["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace = one(chart, "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert pause + load(ServerSettings, {}).shutdown_timeout_seconds < grace


@pytest.mark.parametrize("chart", SERVERS)
def test_the_webhook_gets_the_settings_of_the_values(
    chart: str, environment: Callable[[str, Object], None]
) -> None:
    environment(chart, SAMPLE[chart])
    settings = load(ServerSettings, {}).model_dump(mode="json")
    assert {in_camel_case(name): value for name, value in settings.items()}.items() >= SAMPLE[chart].items()


@pytest.mark.parametrize("chart", SERVERS)
def test_the_chart_refuses_the_settings_that_the_webhook_would_refuse(chart: str) -> None:
    file = MANIFESTS / "charts" / chart / "values.schema.json"
    described = json.loads(file.read_text())["properties"]["settings"]
    assert described["additionalProperties"] is False
    fields = ServerSettings.model_json_schema()["properties"]
    constraints = {name: fields[name].get("anyOf", [fields[name]])[0] for name in SETTINGS[chart]}
    assert described["properties"] == {
        in_camel_case(name): {keyword: constraint[keyword] for keyword in KEYWORDS & constraint.keys()}
        for name, constraint in constraints.items()
    }
