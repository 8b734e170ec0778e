"""The examples and registrations among the manifests, as far as they are the controller's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.cli import main

MANIFESTS = Path(__file__).parents[2] / "manifests"

Object = dict[str, Any]


def loaded(name: str) -> list[Object]:
    return list(yaml.safe_load_all((MANIFESTS / name).read_text()))


def test_the_example_of_an_extension_can_be_rendered(capsys: pytest.CaptureFixture[str]) -> None:
    examples = MANIFESTS / "examples"
    files = [str(examples / "extension.yaml"), "--cluster", str(examples / "cluster.yaml")]
    assert main(["render", *files]) == 0
    assert "\n      - sp-local--spegel.ingress.local." in capsys.readouterr().out


def test_both_ways_to_register_say_the_same() -> None:
    (extension,) = loaded("extension.yaml")
    deployment, registration = loaded("controllerregistration.yaml")
    of_the_operator = extension["spec"]["deployment"]["extension"]
    assert deployment["helm"] == of_the_operator["helm"] | {"values": of_the_operator["values"]}
    assert registration["spec"]["deployment"] == {
        "deploymentRefs": [{"name": deployment["metadata"]["name"]}]
    }
    assert [{"primary": True} | resource for resource in extension["spec"]["resources"]] == (
        registration["spec"]["resources"]
    )
    assert registration["metadata"]["annotations"] == extension["metadata"]["annotations"]
