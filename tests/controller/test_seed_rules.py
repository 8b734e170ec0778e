"""The alerts for whoever runs a seed, as promtool sees them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import Metric

from tests.controller.queries import metric_names
from tests.controller.test_monitoring import promtool, series

FILE = (
    Path(__file__).parents[2] / "manifests/charts/gardener-extension-registry-spegel/rules/seed.yaml"
).resolve()
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in yaml.safe_load(FILE.read_text())["groups"] for rule in group["rules"]
}
DAY = 86400
EXPIRY = "registry_spegel_controller_certificate_expiry_timestamp_seconds"
# The clock of promtool begins at the epoch.
HEALTHY = {
    'registry_spegel_controller_leader{pod="a"}': "1x300",
    'registry_spegel_controller_leader{pod="b"}': "0x300",
    'registry_spegel_controller_extensions{pod="a",state="Error"}': "0x300",
    'registry_spegel_controller_queue_length{pod="a",state="waiting"}': "0x300",
    f'{EXPIRY}{{certificate="webhook"}}': f"{6 * DAY}x300",
    f'{EXPIRY}{{certificate="node"}}': f"{73 * DAY}x300",
    "registry_spegel_webhook_certificate_expiry_timestamp_seconds": f"{6 * DAY}x300",
}
SITUATIONS: dict[str, tuple[dict[str, str | None], str | None]] = {
    "all is well": ({}, None),
    "nobody leads": (
        {'registry_spegel_controller_leader{pod="a"}': "0x300"},
        "RegistrySpegelControllerDown",
    ),
    "nobody is there": (dict.fromkeys(HEALTHY), "RegistrySpegelControllerDown"),
    "Extensions fail": (
        {'registry_spegel_controller_extensions{pod="a",state="Error"}': "2x300"},
        "RegistrySpegelExtensionsFail",
    ),
    "Extensions wait": (
        {'registry_spegel_controller_queue_length{pod="a",state="waiting"}': "9x300"},
        "RegistrySpegelExtensionsWait",
    ),
    "the webhook serves with what will soon have ended": (
        {"registry_spegel_webhook_certificate_expiry_timestamp_seconds": f"{3 * DAY}x300"},
        "RegistrySpegelWebhookCertificateExpires",
    ),
    "the webhook's certificate is not renewed": (
        {f'{EXPIRY}{{certificate="webhook"}}': f"{3 * DAY}x300"},
        "RegistrySpegelWebhookCertificateExpires",
    ),
    "a shoot's certificate is not renewed": (
        {f'{EXPIRY}{{certificate="node"}}': f"{20 * DAY}x300"},
        "RegistrySpegelShootCertificateExpires",
    ),
}


def test_prometheus_understands_the_rules() -> None:
    assert f"SUCCESS: {len(ALERTS)} rules found" in promtool("check", "rules", FILE)


def test_everything_that_is_queried_is_exported() -> None:
    program = """
import json
from prometheus_client import REGISTRY
import controller.operator.figures, webhook.server.metrics
print(json.dumps([[family.name, family.type] for family in REGISTRY.collect()]))
"""
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    exported = series(Metric(name, "", kind) for name, kind in json.loads(run.stdout))
    assert {name for rule in ALERTS.values() for name in metric_names(rule["expr"])} <= exported


def test_every_alert_is_for_operators_and_documented() -> None:
    documented = (Path(__file__).parents[2] / "docs/controller.md").read_text()
    for name, rule in ALERTS.items():
        assert re.search(rf"^\| `{name}` \|", documented, re.MULTILINE)
        assert rule["labels"] == {
            "service": "registry-spegel",
            "severity": "warning",
            "type": "seed",
            "topology": "seed",
            "visibility": "operator",
        }
        assert rule["annotations"].keys() == {"summary", "description"}


def test_alerts_fire_when_they_should_and_not_otherwise(tmp_path: Path) -> None:
    groups = yaml.safe_load(FILE.read_text())["groups"]
    for rule in (rule for group in groups for rule in group["rules"]):
        del rule["annotations"]  # promtool compares them too
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    tests = []
    for name, (changes, firing) in SITUATIONS.items():
        given = {series: values for series, values in {**HEALTHY, **changes}.items() if values is not None}
        more = {"certificate": "node"} if firing == "RegistrySpegelShootCertificateExpires" else {}
        expected = [
            {
                "eval_time": "4h",
                "alertname": alert,
                "exp_alerts": [{"exp_labels": rule["labels"] | more}] if alert == firing else [],
            }
            for alert, rule in ALERTS.items()
        ]
        tests.append(
            {
                "name": name,
                "interval": "1m",
                "input_series": [{"series": key, "values": values} for key, values in given.items()],
                "alert_rule_test": expected,
            }
        )
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": tests}))
    promtool("test", "rules", file)
    assert {firing for _, firing in SITUATIONS.values()} == {*ALERTS, None}
