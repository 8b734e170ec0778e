"""The demo: the main job in one command, and nothing left behind however it ends."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from demo import server
from demo.certificates import make

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "tests" / "samples"
COMMAND = [sys.executable, "-m", "demo"]


@pytest.fixture
def environment(tmp_path):
    """Temporary files go to a directory of the test, which must be empty in the end."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    return {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {
        "TMPDIR": str(temporary),
        "TERM": "xterm-256color",
    }


def run(environment: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def eventually(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"not within the deadline: {what}"
        time.sleep(0.01)


def assert_nothing_is_left(environment: dict[str, str], output: str) -> None:
    temporary = Path(environment["TMPDIR"])
    assert list(temporary.iterdir()) == []
    assert [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(temporary) in _read(path)] == []
    ports = re.findall(r"://127\.0\.0\.1:(\d+)", output)
    assert ports
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(port))) != 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def test_it_shows_the_question_the_answer_and_the_difference(environment):
    result = run(environment)
    assert (result.returncode, result.stderr) == (0, "")
    assert "POST /webhooks/registry-spegel: UPDATE OperatingSystemConfig shoot--demo--tea/" in result.stdout
    assert re.search(r"allowed; JSON patch of \d+ operations, [\d,]+ bytes; [\d.]+ ms", result.stdout)
    assert "~ spec.criConfig.containerd.registries[0]  docker.io" in result.stdout
    assert "+ spec.units[2]  spegel.service" in result.stdout
    assert re.search(r"nothing is left to do\n   allowed; no patch; [\d.]+ ms\n$", result.stdout)
    assert "warning" not in result.stdout
    assert "\x1b" not in result.stdout
    assert_nothing_is_left(environment, result.stdout)


@pytest.mark.parametrize("sample", ["admissionreview-update.json", "osc-with-cache-and-mirror.yaml"])
def test_it_takes_a_file(environment, sample):
    result = run(environment, SAMPLES / sample)
    assert (result.returncode, result.stderr) == (0, "")
    assert "OperatingSystemConfig shoot--crazy--botany/" in result.stdout


def test_what_changes_nothing_is_shown_as_that(environment):
    result = run(environment, SAMPLES / "osc-provision.yaml")
    assert result.returncode == 0
    assert result.stdout.count("allowed; no patch") == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory"),
        ("kind: Shoot\n", "not an OperatingSystemConfig with name and namespace"),
        ("- {", "line 2 column 1: "),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_line(environment, tmp_path, content, message):
    path = tmp_path / "osc.yaml"
    if content is not None:
        path.write_text(content)
    result = run(environment, path)
    assert (result.returncode, result.stdout) == (1, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_denied_request_ends_with_status_1(environment, tmp_path):
    review = json.loads((SAMPLES / "admissionreview-create.json").read_text())
    files = review["request"]["object"]["spec"]["files"]
    hosts = {"path": "/etc/containerd/certs.d/docker.io/hosts.toml", "content": {"inline": {"data": "[host"}}}
    files.append(hosts)
    path = tmp_path / "review.json"
    path.write_text(json.dumps(review))
    result = run(environment, path)
    assert result.returncode == 1
    assert "denied: " in result.stdout
    assert "certs.d/docker.io/hosts.toml" in result.stdout
    assert result.stderr == "demo: the webhook did not allow the request\n"
    assert_nothing_is_left(environment, result.stdout)


def test_help_and_usage_errors(environment):
    shown = run(environment, "--help")
    assert shown.returncode == 0
    assert "usage: python -m demo" in shown.stdout
    assert run(environment, "--nonsense").returncode == 2


@pytest.mark.parametrize(("no_color", "colored"), [(None, True), ("1", False)])
def test_colours_are_for_terminals(environment, no_color, colored):
    ours, theirs = pty.openpty()
    extra = {} if no_color is None else {"NO_COLOR": no_color}
    with subprocess.Popen(COMMAND, cwd=ROOT, env=environment | extra, stdout=theirs) as process:
        os.close(theirs)
        output = b""
        while chunk := _read_terminal(ours):
            output += chunk
    os.close(ours)
    assert process.returncode == 0
    assert (b"\x1b[32m" in output) == colored
    assert (b"\x1b" in output) == colored


def _read_terminal(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # how Linux says that nobody holds the other side any more
        return b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_of_it(environment, number):
    unbuffered = environment | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        COMMAND, cwd=ROOT, env=unbuffered, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        # A pipe that is too small for the difference holds the demo while everything runs.
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
        logs = Path(environment["TMPDIR"])
        eventually(
            lambda: any('"admission"' in _read(log) for log in logs.glob("*/webhook.log")), "it has asked"
        )
        process.send_signal(number)
        process.send_signal(number)  # someone impatient
        output, errors = process.communicate()
    assert process.returncode == 128 + number
    assert errors == "demo: stopped\n"
    assert_nothing_is_left(environment, output)


def test_a_reader_that_leaves_is_no_error(environment):
    result = subprocess.run(
        ["/bin/sh", "-c", '"$0" -m demo | head -n 4; test -z "$(ls -A "$TMPDIR")"', sys.executable],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_a_webhook_that_does_not_start_is_reported_with_its_log(tmp_path):
    missing = tmp_path / "kubeconfig"
    started = server.running(make(tmp_path), missing, tmp_path)
    with pytest.raises(server.ServerError, match=r"ended with status 1:\nerror: .*kube-config"), started:
        pytest.fail("it must not get here")
