"""docs/operations.md tells of every figure and every alert that there is."""

from __future__ import annotations

import re

import pytest
from prometheus_client import REGISTRY

from bootstrapper.server import metrics as of_bootstrapper
from controller.objects import rules
from daemon.metrics import Metrics
from tests.docs.markdown import ROOT
from webhook.server import metrics as of_webhook

TEXT = (ROOT / "docs/operations.md").read_text()


def _alerts() -> set[str]:
    of_shoots = {rule["alert"] for group in rules.groups() for rule in group["rules"] if "alert" in rule}
    templates = "\n".join(path.read_text() for path in (ROOT / "manifests/charts").rglob("*.yaml"))
    return of_shoots | set(re.findall(r"alert: (RegistrySpegel\w+)", templates))


def test_every_alert_has_its_advice():
    assert set(re.findall(r"\*\*(RegistrySpegel\w+)\*\*", TEXT)) == _alerts()


def test_every_figure_of_the_daemon_is_explained():
    described = set(re.findall(r"^\| `(spegel_\w+|http_\w+)` \|", TEXT, re.MULTILINE))
    exported = {family.name for family in Metrics("0").registry.collect()}
    assert {name.removesuffix("_total") for name in described} == {
        name for name in exported if not name.startswith("process_")
    }


@pytest.mark.parametrize("module", [of_bootstrapper, of_webhook], ids=["bootstrapper", "webhook"])
def test_every_figure_of_the_servers_is_explained(module):
    described = {name.removesuffix("_total") for name in re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)}
    exported = {
        family.name.removeprefix(module._PREFIX)
        for family in REGISTRY.collect()
        if family.name.startswith(module._PREFIX)
    }
    assert exported
    assert exported <= described
