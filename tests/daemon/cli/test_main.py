"""The program as its users see it: output, exit codes, signals."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from importlib import metadata
from pathlib import Path

import pytest

from daemon.cli.commands import COMMANDS
from daemon.cli.flags import flags_of
from daemon.cli.help import help_text, reference
from daemon.cli.main import main
from tests.daemon.cli.program import ROOT, free_port, run, running


def test_the_console_script_is_the_same_program() -> None:
    (script,) = metadata.entry_points(group="console_scripts", name="spegel")
    assert script.load() is main


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_names_every_flag_and_fits_a_terminal(command: str | None) -> None:
    result = run(*([command] if command else []), "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == help_text(command)
    assert max(map(len, result.stdout.splitlines())) <= 110
    for named in flags_of(COMMANDS[command]) if command else []:
        assert f"--{named.option}" in result.stdout


def test_the_documentation_names_every_flag_with_variable_and_default() -> None:
    page = (ROOT / "docs" / "daemon.md").read_text()
    written = page.partition("<!-- flags -->\n")[2].partition("<!-- end of flags -->")[0]
    assert written == reference(), "docs/daemon.md is to hold what daemon.cli.help.reference() returns"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "spegel: a command is needed: registry, configuration, cleanup, cleanup-wait, version"),
        (["registry", "--registry-adr", ":1"], "spegel registry: unknown flag --registry-adr, did you mean"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: list[str], line: str) -> None:
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1


def test_version_as_text_and_as_json() -> None:
    text = run("version")
    assert text.returncode == 0
    assert re.fullmatch(
        r"spegel version \S+( [0-9a-f]{40}(-dirty)?)?\nPython 3\.\d+\.\d+, .*protobuf \S+.*\n", text.stdout
    )
    document = json.loads(run("version", "--format=json").stdout)
    assert document["build"]["version"] in text.stdout
    assert document["build"]["pythonVersion"] == sys.version.split()[0]
    assert document["runtime"]["os"] == "linux"


@pytest.mark.parametrize("arguments", ["--help", "version"])
@pytest.mark.parametrize(
    ("redirection", "reason"), [(">/dev/full", "No space left on device"), (">&-", "is closed")]
)
def test_output_that_cannot_be_written_is_one_line_and_exit_code_1(
    arguments: str, redirection: str, reason: str
) -> None:
    command = f'exec "{sys.executable}" -m daemon {arguments} {redirection}'
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode == 1
    assert result.stderr.startswith("spegel: standard output")
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1


def test_version_imports_nothing_of_the_daemon() -> None:
    code = "import sys; from daemon.cli.main import main; main(['version']); print('\\n', *sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert not {"asyncio", "grpclib", "google.protobuf", "prometheus_client"} & set(
        loaded.stdout.splitlines()[-1].split()
    )


def test_configuration_and_cleanup_as_processes(tmp_path: Path) -> None:
    (tmp_path / "docker.io").mkdir()
    (tmp_path / "docker.io" / "hosts.toml").write_text("server = 'https://mine'")
    target = "http://127.0.0.1:5000"
    result = run("configuration", "--mirror-targets", target, CONTAINERD_REGISTRY_CONFIG_PATH=str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert {json.loads(line)["level"] for line in result.stderr.splitlines()} == {"INFO"}
    assert target in (tmp_path / "_default" / "hosts.toml").read_text()

    address = f"127.0.0.1:{free_port()}"
    path = ["--containerd-registry-config-path", str(tmp_path)]
    with running("cleanup", "--addr", address, *path) as cleanup:
        cleanup.wait_for_log("answering probes")
        assert [entry.name for entry in tmp_path.iterdir()] == ["docker.io"]
        assert urllib.request.urlopen(f"http://{address}/readyz").status == 200
        wait = run("cleanup-wait", "--probe-endpoint", address, "--period", "10ms")
        assert wait.returncode == 0, wait.stderr
        assert "round 3 of 3" in wait.stderr
        assert cleanup.terminate() == 0


def test_cleanup_wait_that_is_stopped_has_not_succeeded() -> None:
    with running("cleanup-wait", "--probe-endpoint", f"127.0.0.1:{free_port()}") as wait:
        wait.wait_for_log("not yet")
        assert wait.terminate(signal.SIGINT) == 1
    assert "stopped before" in wait.lines[-1]


def test_a_probe_address_in_use_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = run("cleanup", "--addr", address, "--containerd-registry-config-path", str(tmp_path))
    assert result.returncode == 1
    last = json.loads(result.stderr.splitlines()[-1])
    assert last["level"] == "ERROR"
    assert last["msg"] == f"cannot listen on {address}: Address already in use"


def test_what_nobody_expected_is_a_line_of_the_log_and_exit_code_1() -> None:
    code = """
import sys
from daemon.cli import configuration, main
configuration.write_configuration = lambda *_: 1 / 0
sys.exit(main.main(["configuration", "--mirror-targets", "http://127.0.0.1:5000"]))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    (line,) = map(json.loads, result.stderr.splitlines())
    assert (result.returncode, line["level"], line["msg"]) == (1, "ERROR", "unexpected failure")
    assert line["error"].endswith("ZeroDivisionError: division by zero")
