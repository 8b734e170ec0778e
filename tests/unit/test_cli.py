"""The command line, offline: what goes where, and with which exit status."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jsonpatch
import pytest
import yaml

from serving.settings import load
from tests.unit.admission_samples import SAMPLES, URL, osc, sample
from webhook.cli import main
from webhook.mutation import (
    Bootstrap,
    NodeContext,
    Ports,
    mutate,
)
from webhook.settings import ProgramSettings, ServerSettings

OSC = str(SAMPLES / "osc-with-cache-and-mirror.yaml")
HEAD = "apiVersion: spegel.extensions.gardener.cloud/v1alpha1\nkind: SpegelConfig\n"


class Result(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ServerSettings.model_fields:
        monkeypatch.delenv(f"WEBHOOK_{name.upper()}", raising=False)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: object) -> Result:
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = int(end.code or 0)
        return Result(status, *capsys.readouterr())

    return run


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    directory = tmp_path / "certificates"
    directory.mkdir()
    for name in ("ca.crt", "tls.crt", "tls.key"):
        (directory / name).write_text(f"content of {name}")
    return directory


def assert_error(result: Result, text: str, status: int = 1) -> None:
    assert result.status == status
    assert result.out == ""
    assert text in result.err
    assert "Traceback" not in result.err


def test_the_patch_alone_is_what_the_webhook_would_send(run: Any, certificates: Path) -> None:
    result = run(
        "mutate", OSC, "--output", "patch", "--bootstrap-url", URL, "--certificate-dir", certificates
    )
    program = load(ProgramSettings, {}).program
    bootstrap = Bootstrap(URL, "registry-spegel-bootstrap")
    context = NodeContext(Ports(5000, 5001, 9090), True, program, bootstrap)
    assert json.loads(result.out) == mutate(sample(Path(OSC).name), context).patch
    assert (result.status, result.err) == (0, "")
    assert "content of" not in result.out


def test_what_is_left_out_without_a_bootstrapper_is_said(run: Any) -> None:
    result = run("mutate", OSC, "--output", "patch")
    assert result.status == 0
    assert result.err == (
        "warning: no --bootstrap-url: the bootstrap flags are left out\n"
        "warning: no --certificate-dir: the certificate files are left out\n"
    )
    assert "--http-bootstrap" not in result.out
    assert "tls.key" not in result.out


def test_the_whole_result_keeps_the_order_of_keys_and_mutates_to_nothing(run: Any, tmp_path: Path) -> None:
    result = run("mutate", OSC, "--output", "yaml")
    before, after = sample(Path(OSC).name), yaml.load(result.out, yaml.CSafeLoader)
    patch = json.loads(run("mutate", OSC, "--output", "patch").out)
    assert after == jsonpatch.apply_patch(before, patch)
    assert list(after) == list(before)
    assert list(after["spec"])[: len(before["spec"])] == list(before["spec"])
    again = tmp_path / "again.yaml"
    again.write_text(result.out)
    assert run("mutate", again, "--output", "patch").out == "[]\n"
    assert run("mutate", again).out == ""


def test_the_difference_is_the_default_and_has_colours_on_demand(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run("mutate", OSC).out
    assert "spegel.service" in plain
    assert "\x1b" not in plain
    assert "\x1b[32m+" in run("mutate", OSC, "--color", "always").out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert "\x1b[32m+" in run("mutate", OSC).out
    assert "\x1b" not in run("mutate", OSC, "--color", "never").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in run("mutate", OSC).out


def test_a_provision_config_is_left_alone_in_silence(run: Any) -> None:
    path = SAMPLES / "osc-provision.yaml"
    assert run("mutate", path, "--output", "patch") == Result(0, "[]\n", "")
    assert run("mutate", path) == Result(0, "", "")


def test_standard_input_and_json(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(json.dumps(osc()).encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    result = run("mutate", "-", "--output", "patch")
    assert result.status == 0
    assert json.loads(result.out)


def test_the_configuration_counts(run: Any, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(HEAD + "registryPort: 15500\nresolveTags: false\n")
    out = run("mutate", OSC, "--config", config, "--output", "patch").out
    assert "http://localhost:15500" in out
    assert '"resolve"' not in run("mutate", OSC, "--config", config, "--output", "yaml").out.split("15500")[1]


def test_cilium_moves_the_metrics(run: Any) -> None:
    assert "PORT=19090" in run("mutate", OSC, "--networking-type", "cilium").out


def test_the_image_comes_from_flags_or_the_environment(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_DAEMON_IMAGE", "ghcr.io/spegel-org/spegel:v0.6.0")
    out = run("mutate", OSC, "--daemon-path", "/bin/spegel").out
    assert "image: ghcr.io/spegel-org/spegel:v0.6.0" in out
    assert "filePathInImage: /bin/spegel" in out
    assert "WatchdogSec" not in out
    assert "WatchdogSec=7" in run("mutate", OSC, "--watchdog-seconds", 7).out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory"),
        ("", "holds no document"),
        ("a: [", "line 2 column 1: "),
        ("a: 1\na: 2\n", "line 2 column 1: duplicate key 'a'"),
        (
            "kind: Pod\napiVersion: v1\n",
            "must be of kind OperatingSystemConfig, apiVersion extensions.gardener",
        ),
        ("[]", "must be of kind OperatingSystemConfig"),
        (yaml.dump_all([osc(), osc()]), "a second document begins"),
        (yaml.dump(osc(files={})), "spec.files: must be a list"),
        (
            yaml.dump(
                osc(
                    files=[
                        {
                            "path": "/etc/containerd/certs.d/quay.io/hosts.toml",
                            "content": {"inline": {"data": "a = \n"}},
                        }
                    ]
                )
            ),
            "/etc/containerd/certs.d/quay.io/hosts.toml",
        ),
    ],
)
def test_what_cannot_be_mutated_is_said_in_one_line(
    run: Any, tmp_path: Path, content: str | None, message: str
) -> None:
    file = tmp_path / "osc.yaml"
    if content is not None:
        file.write_text(content)
    result = run("mutate", file)
    assert_error(result, message)
    assert result.err.startswith(f"error: {file}: ")
    assert result.err.count("\n") == 1


def test_all_errors_of_a_configuration_are_said(run: Any, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(HEAD + "registryPort: 0\nrouterPort: x\n")
    result = run("mutate", OSC, "--config", config)
    assert_error(result, f"error: {config}: registryPort: Invalid value: 0")
    assert f"error: {config}: routerPort: Invalid value" in result.err


@pytest.mark.parametrize("break_it", [Path.unlink, lambda path: path.write_text("")])
def test_a_certificate_directory_must_be_complete(run: Any, certificates: Path, break_it: Any) -> None:
    break_it(certificates / "tls.key")
    assert_error(run("mutate", OSC, "--certificate-dir", certificates), "tls.key: missing, empty or not")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["frobnicate"],
        ["mutate"],
        ["mutate", OSC, "--output", "xml"],
        ["mutate", OSC, "--outp", "patch"],
        ["mutate", OSC, "--bootstrap-url", "not a url"],
        ["mutate", OSC, "--watchdog-seconds", "soon"],
        ["mutate", OSC, "--daemon-image", "a b"],
        ["serve", "--port", "high"],
        ["serve", "--colour"],
        ["serve"],
        ["validate"],
    ],
)
def test_a_wrong_command_line_is_a_usage_error(run: Any, arguments: list[str]) -> None:
    assert_error(run(*arguments), "error: ", status=2)


def test_serve_says_what_keeps_it_from_starting(run: Any, tmp_path: Path) -> None:
    result = run("serve", "--address", "127.0.0.1", "--kubeconfig", tmp_path / "absent")
    assert_error(result, "no usable configuration for the API server")
    assert result.err.count("\n") == 1


@pytest.mark.parametrize("command", [[], ["serve"], ["mutate"], ["validate"]])
def test_help(run: Any, command: list[str]) -> None:
    result = run(*command, "--help")
    assert (result.status, result.err) == (0, "")
    assert "usage: python -m webhook" in result.out


def test_a_valid_shoot(run: Any) -> None:
    result = run("validate", SAMPLES / "shoot.yaml")
    assert (result.status, result.out) == (0, f"{SAMPLES / 'shoot.yaml'}: valid\n")


def test_an_invalid_shoot_has_all_its_errors_said(run: Any, tmp_path: Path) -> None:
    shoot = sample("shoot.yaml")
    config = yaml.safe_load(HEAD) | {"registryPort": 70000, "routerPort": 70000}
    shoot["spec"]["extensions"] = [{"type": "registry-spegel", "providerConfig": config}]
    file = tmp_path / "shoot.yaml"
    file.write_text(yaml.dump(shoot))
    result = run("validate", file)
    assert_error(result, f"error: {file}: spec.extensions[0].providerConfig.registryPort: ")
    assert f"error: {file}: spec.extensions[0].providerConfig.routerPort: " in result.err


def test_warnings_about_a_shoot_do_not_make_it_invalid(run: Any, tmp_path: Path) -> None:
    shoot = sample("shoot.yaml")
    shoot["spec"]["provider"]["workers"] = []
    file = tmp_path / "shoot.yaml"
    file.write_text(yaml.dump(shoot))
    result = run("validate", file)
    assert result.status == 0
    assert result.err.startswith("warning: ")


def test_what_is_no_shoot_is_not_judged(run: Any) -> None:
    assert_error(run("validate", OSC), "must be of kind Shoot, apiVersion core.gardener.cloud/v1beta1")


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = [sys.executable, "-m", "webhook", "mutate", OSC, "--output", "yaml"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=root) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read().decode()
    assert process.returncode == 141
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors
