"""What the shoot's Prometheus and Plutono are told, and whether they can do something with it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Metric

from controller.objects import names, rules
from daemon.metrics import Metrics
from tests.controller.queries import metric_names, without_variables
from tests.controller.shoots import NAMESPACE, Object, extension, objects, one

ALERTS = {
    "RegistrySpegelNoPeers": "owner",
    "RegistrySpegelMissRate": "owner",
    "RegistrySpegelDaemonDown": "owner",
    "RegistrySpegelBootstrapperUnreachable": "operator",
    "RegistrySpegelBootstrapperOutdated": "operator",
    "RegistrySpegelCertificateExpires": "operator",
    "RegistrySpegelNodeCertificateExpires": "operator",
}


def series(families: Iterable[Metric]) -> set[str]:
    """The names under which families are exported."""
    suffixes = {
        "counter": ["_total"],
        "histogram": ["_bucket", "_count", "_sum"],
        "gauge": [""],
    }
    return {
        family.name + suffix
        for family in families
        if family.type in suffixes
        for suffix in suffixes[family.type]
    }


def of_the_daemon() -> set[str]:
    return series(Metrics("test").registry.collect())


def of_the_bootstrapper() -> set[str]:
    """In a process of its own: its figures join the one registry of all of a process."""
    program = """
import json
from prometheus_client import REGISTRY
from bootstrapper.server import metrics
from bootstrapper.server.metrics import Published
from types import SimpleNamespace
publication = SimpleNamespace(age=lambda: 0.0, answers=lambda: SimpleNamespace(counts={"ready": 1}))
families = [*REGISTRY.collect(), *Published(publication).collect()]
print(json.dumps([[family.name, family.type] for family in families]))
"""
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return series(Metric(name, "", kind) for name, kind in json.loads(run.stdout))


def dashboard() -> Object:
    data = one(objects(), "ConfigMap")["data"]
    ((key, text),) = data.items()
    assert key == "registry-spegel.dashboard.json"
    loaded: Object = json.loads(text)
    return loaded


def panels() -> list[Object]:
    found: list[Object] = dashboard()["panels"]
    return found


def queries_of_the_dashboard() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel.get("targets", [])]


def rules_of_the_shoot() -> list[Object]:
    (group,) = one(objects(), "PrometheusRule")["spec"]["groups"]
    found: list[Object] = group["rules"]
    return found


# Names


def test_everything_that_is_queried_is_exported_and_kept() -> None:
    exported = of_the_daemon() | of_the_bootstrapper()
    kept = [
        one(objects(), kind)["spec"]["metricRelabelings"]
        if kind == "ScrapeConfig"
        else one(objects(), kind)["spec"]["endpoints"][0]["metricRelabelings"]
        for kind in ("ScrapeConfig", "ServiceMonitor")
    ]
    patterns = []
    for (relabeling,) in kept:
        assert (relabeling["action"], relabeling["sourceLabels"]) == ("keep", ["__name__"])
        patterns.append(relabeling["regex"])
    queried = {
        name
        for query in [*queries_of_the_dashboard(), *(rule["expr"] for rule in rules_of_the_shoot())]
        for name in metric_names(query)
    }
    assert {"spegel_router_peers", "spegel_received_bytes_total"} < queried
    assert queried - exported == {"up"}
    assert {name for name in queried if not any(re.fullmatch(pattern, name) for pattern in patterns)} == {
        "up"
    }


def test_the_names_that_the_proposal_gives_are_kept() -> None:
    (relabeling,) = one(objects(), "ScrapeConfig")["spec"]["metricRelabelings"]
    for name in (
        "http_response_size_bytes_sum",
        "http_request_duration_seconds_bucket",
        "spegel_mirror_requests_total",
        "spegel_resolve_duration_seconds_bucket",
        "spegel_advertised_keys",
    ):
        assert re.fullmatch(relabeling["regex"], name)
        assert name in of_the_daemon()
    assert not re.fullmatch(relabeling["regex"], "process_cpu_seconds_total")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("up", {"up"}),
        ('sum by (le, code) (rate(a_bucket{x="y", z=~"b{1}c"}[5m])) / on (node) b:c', {"a_bucket", "b:c"}),
        ("histogram_quantile(0.99, sum(a)) > 1e3 and absent(b offset 5m) or time() - c", {"a", "b", "c"}),
    ],
)
def test_names_are_found_in_a_query(query: str, expected: set[str]) -> None:
    assert metric_names(query) - {"offset", "m"} == expected


# Scraping


def test_daemons_are_scraped_through_the_api_servers_proxy_for_nodes() -> None:
    thing = one(objects(), "ScrapeConfig")
    assert (thing["apiVersion"], thing["metadata"]["name"]) == (
        "monitoring.coreos.com/v1alpha1",
        "shoot-registry-spegel",
    )
    spec = thing["spec"]
    token = {"credentials": {"name": "shoot-access-prometheus-shoot", "key": "token"}}
    (discovery,) = spec["kubernetesSDConfigs"]
    assert (discovery["role"], discovery["apiServer"]) == ("Node", "https://kube-apiserver")
    assert discovery["authorization"] == spec["authorization"] == token
    assert spec["scheme"] == "HTTPS"
    labels = relabeled(
        spec["relabelings"], {"__meta_kubernetes_node_name": "node-1", "__address__": "10.1.2.3:10250"}
    )
    assert labels == {
        "__address__": "kube-apiserver:443",
        "__metrics_path__": "/api/v1/nodes/node-1:9090/proxy/metrics",
        "instance": "node-1",
        "job": "registry-spegel",
        "node": "node-1",
    }


def test_the_port_is_that_of_the_shoots_configuration() -> None:
    from controller.desired import desired
    from controller.shoot import read
    from tests.controller.shoots import OPTIONS, certificates, cluster

    config = {
        "apiVersion": "spegel.extensions.gardener.cloud/v1alpha1",
        "kind": "SpegelConfig",
        "metricsPort": 9099,
    }
    made = desired(read(extension(spec__providerConfig=config), cluster()), certificates(), OPTIONS)
    assert ":9099/proxy/metrics" in json.dumps(one(made, "ScrapeConfig"))


def relabeled(relabelings: list[Object], labels: dict[str, str]) -> dict[str, str]:
    """As Prometheus does for the default action, with names that begin with __meta_ dropped."""
    for rule in relabelings:
        value = ";".join(labels.get(name, "") for name in rule.get("sourceLabels", []))
        match = re.fullmatch(rule.get("regex", "(.*)"), value)
        if match:
            template = rule.get("replacement", "${1}").replace("${1}", r"\g<1>")
            labels = {**labels, rule["targetLabel"]: match.expand(template)}
    return {name: value for name, value in labels.items() if not name.startswith("__meta_")}


def test_the_bootstrapper_is_scraped_by_its_service() -> None:
    spec = one(objects(), "ServiceMonitor")["spec"]
    service = one(objects(), "Service")
    assert spec["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = spec["endpoints"]
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert relabeled(endpoint["relabelings"], {}) == {"job": rules.BOOTSTRAPPER}


@pytest.mark.parametrize(
    ("kind", "component"),
    [
        ("ScrapeConfig", names.NAME),
        ("ServiceMonitor", names.BOOTSTRAPPER),
        ("PrometheusRule", names.NAME),
    ],
)
def test_the_shoots_prometheus_selects_them(kind: str, component: str) -> None:
    metadata = one(objects(), kind)["metadata"]
    assert metadata["name"] == f"shoot-{component}"
    assert metadata["labels"].items() >= {("prometheus", "shoot"), ("component", component)}


# Rules


def test_every_alert_says_whom_it_concerns_and_what_to_think_of_it() -> None:
    alerts = {rule["alert"]: rule for rule in rules_of_the_shoot() if "alert" in rule}
    assert {name: rule["labels"]["visibility"] for name, rule in alerts.items()} == ALERTS
    documented = (Path(__file__).parents[2] / "docs/controller.md").read_text()
    for name, rule in alerts.items():
        assert f"| `{name}` | {rule['labels']['visibility']} |" in documented
        labels = {"service": "registry-spegel", "type": "shoot", "severity": "warning"}
        assert rule["labels"].items() >= labels.items()
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["annotations"]["description"].endswith(".")


def test_recorded_series_are_named_so_that_they_reach_the_garden() -> None:
    recorded = [rule["record"] for rule in rules_of_the_shoot() if "record" in rule]
    assert recorded
    assert all(re.fullmatch("shoot:[a-z_]+:[a-z0-9]+", name) for name in recorded)


def promtool(*arguments: str | Path) -> str:
    if shutil.which("promtool") is None:
        missing = "promtool is not installed: Debian package prometheus"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    run = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def rule_file(directory: Path, groups: list[Object]) -> Path:
    file = directory / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": groups}))
    return file


def test_prometheus_understands_the_rules(tmp_path: Path) -> None:
    file = rule_file(tmp_path, one(objects(), "PrometheusRule")["spec"]["groups"])
    assert f"SUCCESS: {len(rules_of_the_shoot())} rules found" in promtool("check", "rules", file)


def test_prometheus_understands_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    recorded = [
        {"record": f"query:{index}", "expr": without_variables(query)}
        for index, query in enumerate(queries_of_the_dashboard())
    ]
    assert not any("$" in rule["expr"] for rule in recorded)
    promtool("check", "rules", rule_file(tmp_path, [{"name": "dashboard", "rules": recorded}]))


HEALTHY = {
    'up{job="registry-spegel",node="a"}': "1x300",
    'up{job="registry-spegel",node="b"}': "1x300",
    'up{job="registry-spegel-bootstrapper"}': "1x300",
    'spegel_router_peers{node="a"}': "1x300",
    'spegel_router_peers{node="b"}': "1x300",
    'spegel_mirror_requests_total{registry="docker.io",cache="hit",node="a"}': "0+50x300",
    'spegel_mirror_requests_total{registry="docker.io",cache="miss",node="a"}': "0+50x300",
    'spegel_received_bytes_total{registry="docker.io",node="a"}': "0+6000x300",
    "registry_spegel_bootstrapper_answer_age_seconds": "5x300",
    # The clock of promtool begins at the epoch.
    "registry_spegel_bootstrapper_certificate_expiry_timestamp_seconds": f"{60 * 86400}x300",
    "registry_spegel_bootstrapper_client_certificate_expiry_timestamp_seconds": f"{60 * 86400}x300",
}

SITUATIONS: dict[str, tuple[dict[str, str | None], str | None]] = {
    "all is well": ({}, None),
    "a node knows nobody": ({'spegel_router_peers{node="b"}': "0x300"}, "RegistrySpegelNoPeers"),
    "the only node knows nobody": (
        {'spegel_router_peers{node="a"}': "0x300", 'spegel_router_peers{node="b"}': None},
        None,
    ),
    "peers have nothing": (
        {'spegel_mirror_requests_total{registry="docker.io",cache="hit",node="a"}': "0+1x300"},
        "RegistrySpegelMissRate",
    ),
    "peers have nothing of the little that is asked for": (
        {
            'spegel_mirror_requests_total{registry="docker.io",cache="hit",node="a"}': "0x300",
            'spegel_mirror_requests_total{registry="docker.io",cache="miss",node="a"}': "0+1x300",
        },
        None,
    ),
    "a daemon is down": (
        {'up{job="registry-spegel",node="b"}': "0x300", 'spegel_router_peers{node="b"}': None},
        "RegistrySpegelDaemonDown",
    ),
    "the bootstrapper is down": (
        {'up{job="registry-spegel-bootstrapper"}': "0x300"},
        "RegistrySpegelBootstrapperUnreachable",
    ),
    "the bootstrapper is nowhere": (
        {'up{job="registry-spegel-bootstrapper"}': None},
        "RegistrySpegelBootstrapperUnreachable",
    ),
    "the bootstrapper hears nothing of the API server": (
        {"registry_spegel_bootstrapper_answer_age_seconds": "1000+60x300"},
        "RegistrySpegelBootstrapperOutdated",
    ),
    "the certificate is not renewed": (
        {"registry_spegel_bootstrapper_certificate_expiry_timestamp_seconds": f"{20 * 86400}x300"},
        "RegistrySpegelCertificateExpires",
    ),
    "the nodes' certificate is not renewed": (
        {"registry_spegel_bootstrapper_client_certificate_expiry_timestamp_seconds": f"{20 * 86400}x300"},
        "RegistrySpegelNodeCertificateExpires",
    ),
    "no node has come lately": (
        {"registry_spegel_bootstrapper_client_certificate_expiry_timestamp_seconds": " ".join(["Inf"] * 300)},
        None,
    ),
}


def test_alerts_fire_when_they_should_and_not_otherwise(tmp_path: Path) -> None:
    groups = one(objects(), "PrometheusRule")["spec"]["groups"]
    rule_file(tmp_path, groups)
    alerts = {rule["alert"]: rule for rule in rules_of_the_shoot() if "alert" in rule}
    tests: list[dict[str, Any]] = []
    for name, (changes, firing) in SITUATIONS.items():
        given = {series: values for series, values in {**HEALTHY, **changes}.items() if values is not None}
        expected = []
        for alert in ALERTS:
            exp_alerts = [{"exp_labels": alerts[alert]["labels"]}] if alert == firing else []
            expected.append({"eval_time": "4h", "alertname": alert, "exp_alerts": exp_alerts})
        tests.append(
            {
                "name": name,
                "interval": "1m",
                "input_series": [{"series": key, "values": values} for key, values in given.items()],
                "alert_rule_test": expected,
            }
        )
    for rule in (rule for group in groups for rule in group["rules"]):
        rule.pop("annotations", None)  # promtool compares them too
    rule_file(tmp_path, groups)
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": tests}))
    promtool("test", "rules", file)
    assert {firing for _, firing in SITUATIONS.values()} == {*ALERTS, None}


def test_recorded_series_have_the_right_values(tmp_path: Path) -> None:
    rule_file(tmp_path, one(objects(), "PrometheusRule")["spec"]["groups"])
    expected = {
        'shoot:spegel_mirror_requests_total:rate5m{cache="hit"}': 50 / 60,
        "shoot:spegel_received_bytes_total:rate5m": 100,
        "shoot:spegel_router_peers:min": 1,
        "shoot:registry_spegel_up:avg": 1,
    }
    test = {
        "interval": "1m",
        "input_series": [{"series": key, "values": values} for key, values in HEALTHY.items()],
        "promql_expr_test": [
            {"expr": expr, "eval_time": "1h", "exp_samples": [{"labels": expr, "value": value}]}
            for expr, value in expected.items()
        ],
    }
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": [test]}))
    promtool("test", "rules", file)


# The dashboard


def test_plutono_finds_the_dashboard() -> None:
    metadata = one(objects(), "ConfigMap")["metadata"]
    assert metadata["namespace"] == NAMESPACE
    assert metadata["labels"]["dashboard.monitoring.gardener.cloud/shoot"] == "true"


def test_it_shows_what_the_cache_saves_and_how_it_does() -> None:
    titles = [panel["title"] for panel in panels()]
    assert titles[1:4] == ["Saved: bytes", "Saved: requests", "Hit ratio"]
    for title in (
        "Hit ratio by registry",
        "Bytes served by peers",
        "Resolve duration",
        "Peers",
        "Advertised keys",
    ):
        assert title in titles


def test_every_panel_has_a_place_of_its_own_and_says_what_it_shows() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells
        if panel["type"] != "text":
            assert panel["description"]
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_queries_use_only_the_variables_that_there_are() -> None:
    known = {"__range", "__rate_interval", *(each["name"] for each in dashboard()["templating"]["list"])}
    used = {name for query in queries_of_the_dashboard() for name in re.findall(r"\$(\w+)", query)}
    assert used == known
