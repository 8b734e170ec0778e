"""The settings of the controller, and how its command line takes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.cli import main
from controller.settings import ControllerSettings, markdown_table
from serving.settings import SettingsError, load

DOCUMENT = Path(__file__).parents[2] / "docs" / "controller.md"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ControllerSettings.model_fields:
        monkeypatch.delenv(f"CONTROLLER_{name.upper()}", raising=False)
    monkeypatch.setenv("KUBECONFIG", "")
    monkeypatch.setenv("HOME", str(tmp_path))


def test_the_documentation_has_every_setting_as_it_is() -> None:
    assert markdown_table() in DOCUMENT.read_text(), (
        "docs/controller.md: bring the table up to date with python -m controller.settings"
    )


def test_the_environment_is_read_and_flags_win_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTROLLER_WORKERS", "7")
    monkeypatch.setenv("CONTROLLER_HEALTH_PORT", "9000")
    settings = load(ControllerSettings, {"workers": "9"})
    assert (settings.workers, settings.health_port, settings.namespace) == (9, 9000, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("namespace", "Not_A_Name"),
        ("workers", "0"),
        ("address", "example.com"),
        ("health_port", "0"),
        ("log_level", "loud"),
        ("exposure", "traefik"),
        ("bootstrapper_image", "Registry/Image"),
    ],
)
def test_a_bad_value_is_refused_by_both_its_names(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"^--{name.replace('_', '-')} \(CONTROLLER_{name.upper()}\): "):
        load(ControllerSettings, {name: value})


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["run", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_without_an_api_server_it_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert "not in a pod, and no kubeconfig file" in fails(capsys, "--namespace", "x")
    assert "kubeconfig file cannot be used" in fails(capsys, "--namespace", "x", "--kubeconfig", "/none")


def test_without_a_namespace_it_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(
        "{current-context: a, contexts: [{name: a, context: {cluster: a, user: a}}], users: [{name: a}], "
        "clusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}]}"
    )
    assert "--namespace" in fails(capsys, "--kubeconfig", str(file))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "No such file"),
        ("[", "expected the node content"),
        ("{}", "must be a MutatingWebhookConfiguration"),
        ("webhooks: []", "must be a MutatingWebhookConfiguration"),
        ("webhooks: [{clientConfig: {service: {name: a}}}]", "must be a MutatingWebhookConfiguration"),
        ("webhooks: [{clientConfig: {service: {name: a, namespace: 7}}}]\nmetadata: {name: a}", "must be a"),
    ],
)
def test_a_registration_that_cannot_be_used_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str | None, problem: str
) -> None:
    kubeconfig, file = tmp_path / "kubeconfig", tmp_path / "registration.yaml"
    kubeconfig.write_text(
        "{current-context: a, contexts: [{name: a, context: {cluster: a, user: a}}], users: [{name: a}], "
        "clusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}]}"
    )
    if text is not None:
        file.write_text(text)
    arguments = ["--namespace", "x", "--kubeconfig", str(kubeconfig), "--webhook-registration", str(file)]
    assert problem in fails(capsys, *arguments).replace("\n", " ")
