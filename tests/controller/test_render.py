"""``python -m controller render``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from controller.cli import main
from controller.objects import names
from tests.controller.shoots import HOST, SAMPLES, cluster, everything, extension, objects

FILES = [str(SAMPLES / "extension.yaml"), "--cluster", str(SAMPLES / "cluster.yaml")]
RENDER = ["render", *FILES, "--now", "2026-11-24T12:00:00Z"]


def render(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    assert main([*RENDER, *flags]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["render", *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def written(directory: Path, name: str, document: object) -> str:
    file = directory / name
    file.write_text(yaml.safe_dump(document))
    return str(file)


def test_it_prints_every_object(capsys: pytest.CaptureFixture[str]) -> None:
    printed = list(yaml.safe_load_all(render(capsys)))
    assert [(thing["kind"], thing["metadata"]["name"]) for thing in printed] == [
        (thing["kind"], thing["metadata"]["name"]) for thing in everything(objects())
    ]
    for thing in printed:
        if thing["apiVersion"] in ("v1", "apps/v1", "policy/v1", "rbac.authorization.k8s.io/v1"):
            kubernetes_validate.validate(thing, "1.37", strict=True)


@pytest.mark.parametrize(
    ("metadata", "note"),
    [
        ({"deletionTimestamp": "2026-11-24T12:00:00Z"}, "is being deleted"),
        ({"annotations": {"gardener.cloud/operation": "migrate"}}, "moves to another seed"),
    ],
)
def test_of_an_extension_that_goes_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], metadata: dict[str, object], note: str
) -> None:
    going = extension()
    going["metadata"] |= metadata
    file = written(tmp_path, "extension.yaml", going)
    assert main(["render", file, *FILES[1:]]) == 0
    captured = capsys.readouterr()
    assert captured.err == f"note: {file} {note}: the controller would take away what follows\n"
    assert len(list(yaml.safe_load_all(captured.out))) == len(everything(objects()))


def test_private_keys_are_not_shown_unless_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    secrets = {
        thing["metadata"]["name"]: thing.get("data")
        for thing in yaml.safe_load_all(render(capsys))
        if thing["kind"] == "Secret"
    }
    hidden = {
        (name, key)
        for name, data in secrets.items()
        for key, value in (data or {}).items()
        if value == "REDACTED"
    }
    assert hidden == {
        (names.AUTHORITY_SECRET, "ca.key"),
        (names.SERVER_SECRET, "tls.key"),
        (names.CLIENT_SECRET, "tls.key"),
        *((names.managed_resource_secret(name), "objects.yaml") for name in names.MANAGED_RESOURCES),
    }
    assert "REDACTED" not in render(capsys, "--show-keys")


@pytest.mark.parametrize("as_list", [True, False])
def test_with_the_secrets_that_exist_it_prints_the_same_each_time(
    as_list: bool, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    first = render(capsys, "--show-keys")
    file = tmp_path / "secrets.yaml"
    things = list(yaml.safe_load_all(first))
    file.write_text(yaml.safe_dump({"kind": "List", "items": things}) if as_list else first)
    assert render(capsys, "--show-keys", "--secrets", str(file)) == first
    assert render(capsys, "--show-keys") != first


def test_the_same_input_gives_the_same_output_but_for_new_certificates(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def without_certificates(text: str) -> list[str]:
        return [line for line in text.splitlines() if ".crt: " not in line]

    assert without_certificates(render(capsys)) == without_certificates(render(capsys))


def test_names_alone(capsys: pytest.CaptureFixture[str]) -> None:
    lines = render(capsys, "--output", "names").splitlines()
    assert len(lines) == len(everything(objects()))
    assert lines[0] == "Secret shoot--crazy--botany/registry-spegel-ca: applied on the seed"
    assert (
        "Deployment shoot--crazy--botany/registry-spegel-bootstrapper: "
        "by ManagedResource registry-spegel-bootstrapper, in the seed"
    ) in lines


def test_flags_and_environment_choose_what_is_made(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTROLLER_BOOTSTRAPPER_IMAGE", "registry.example.com/bootstrapper:1")
    text = render(capsys, "--exposure", "nginx", "--host-prefix", "cache")
    kinds = {thing["kind"] for thing in yaml.safe_load_all(text)}
    assert "Ingress" in kinds
    assert "Gateway" not in kinds
    assert "image: registry.example.com/bootstrapper:1\n" in text
    assert HOST.replace("sp-", "cache-") in text


def test_istio_labels_are_those_of_the_seed(capsys: pytest.CaptureFixture[str]) -> None:
    text = render(capsys, "--istio-labels", "istio=zone-a,istio-role=seed", "--istio-namespace", "istio-a")
    (gateway,) = [thing for thing in yaml.safe_load_all(text) if thing["kind"] == "Gateway"]
    assert gateway["spec"]["selector"] == {"istio": "zone-a", "istio-role": "seed"}
    assert text.count("istio-a") == 3


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--exposure", "haproxy"),
        ("--bootstrapper-image", "no image"),
        ("--istio-labels", "app"),
        ("--istio-namespace", "Istio"),
        ("--host-prefix", "-sp"),
    ],
)
def test_a_wrong_setting_is_named(flag: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main([*RENDER, f"{flag}={value}"])
    assert raised.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {flag} (CONTROLLER_")


def test_a_time_without_a_zone_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["render", *FILES, "--now", "2026-11-24T12:00:00"])
    assert "is no time with a zone" in capsys.readouterr().err


def test_what_is_wrong_with_the_input_is_said_in_a_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    good_extension, good_cluster = FILES[0], FILES[2]
    other = written(tmp_path, "other.yaml", extension(spec__type="registry-cache"))
    assert refusal(capsys, other, "--cluster", good_cluster) == (
        f"error: {other}: must be of type registry-spegel and class shoot\n"
    )
    assert refusal(capsys, good_cluster, "--cluster", good_cluster) == (
        f"error: {good_cluster}: must be of kind Extension, apiVersion extensions.gardener.cloud/v1alpha1\n"
    )
    bare = written(tmp_path, "bare.yaml", cluster(spec__shoot=None))
    assert refusal(capsys, good_extension, "--cluster", bare) == (
        "error: Cluster shoot--crazy--botany: spec.shoot: is missing\n"
    )
    wrong = written(tmp_path, "wrong.yaml", extension(spec__providerConfig={"registryPort": 0}))
    errors = refusal(capsys, wrong, "--cluster", good_cluster).splitlines()
    assert len(errors) > 1
    assert all(error.startswith(f"error: {wrong}: spec.providerConfig.") for error in errors)
    assert "No such file" in refusal(capsys, "nowhere.yaml", "--cluster", good_cluster)
    assert "must hold Kubernetes objects" in refusal(
        capsys, *FILES, "--secrets", written(tmp_path, "list.yaml", [1])
    )


def test_it_is_a_program_that_reads_standard_input() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "controller", "render", "-", *FILES[1:], "--output", "names"],
        input=Path(FILES[0]).read_bytes(),
        capture_output=True,
        check=True,
    )
    assert run.stdout.startswith(b"Secret shoot--crazy--botany/")


def test_help_gives_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["--help"])
    assert raised.value.code == 0
    assert "python -m controller render extension.yaml --cluster cluster.yaml\n" in capsys.readouterr().out
