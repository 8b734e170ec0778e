"""The demo: the main job in one command, and nothing left behind however it ends."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import termios
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "tests" / "samples"
COMMAND = [sys.executable, "-m", "demo"]
PATIENCE = 60.0
"""Seconds for whatever is waited for; only a broken demo needs them."""
TIME = r"[\d.]+ m?s"
PARTS = ["manifest", "config", *(f"layer {number}" for number in range(1, 6))]


@pytest.fixture
def environment(tmp_path):
    """Temporary files go to a directory of the test, which must be empty in the end."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    dropped = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"}
    return {name: value for name, value in os.environ.items() if name not in dropped} | {
        "TMPDIR": str(temporary),
        "TERM": "xterm-256color",
    }


def run(environment: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


class Running:
    """A demo that runs; its output is read as far as the test wants to see it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.output = ""

    def until(self, text: str) -> None:
        """Read up to the line that has a text."""
        assert self.process.stdout is not None
        while text not in self.output:
            line = self.process.stdout.readline()
            assert line, f"the output ends before {text!r}: {self.output}"
            self.output += line

    def end(self, number: int | None = None) -> str:
        """Send a signal, read to the end, and return what is on standard error."""
        if number is not None:
            self.process.send_signal(number)
        output, errors = self.process.communicate(timeout=PATIENCE)
        self.output += output
        return errors


@contextmanager
def running(environment: dict[str, str], *arguments: str | Path) -> Iterator[Running]:
    with subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Running(process)
        finally:
            process.terminate()


def processes(environment: dict[str, str]) -> dict[int, str]:
    """Return the command lines of the demo's parts: each names a file of its directory."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_text()
        except OSError:
            continue
        if environment["TMPDIR"] in command:
            found[int(path.parent.name)] = command
    return found


def assert_nothing_is_left(environment: dict[str, str], output: str) -> None:
    assert list(Path(environment["TMPDIR"]).iterdir()) == []
    assert processes(environment) == {}
    addresses = set(re.findall(r"//(localhost|127\.0\.0\.\d):(\d+)", output))
    assert addresses
    for host, port in addresses:
        with socket.socket() as probe:
            assert probe.connect_ex((host, int(port))) != 0, f"{host}:{port} is listened on"


def table(output: str) -> dict[str, str]:
    """Return the rows of the table at the end, by what each begins with, single spaces in them."""
    lines = output.partition("What came from where\n")[2].partition("\n\n")[0].splitlines()
    rows = (" ".join(line.split()) for line in lines)
    return {match[1]: match[2] for row in rows if (match := re.fullmatch(r"(layer \d|\w+) (.*)", row))}


def assert_peers_gave_what_upstream_gave_once(output: str) -> None:
    rows = table(output)
    got = r"[\d.]+ (?:B|kB|MB) upstream TIME node 1 TIME node [12] TIME node [1-3] TIME".replace("TIME", TIME)
    for part in PARTS:
        assert re.fullmatch(got, rows[part])
    # Of upstream: the tag (HEAD), the manifest, and each of the six blobs once.
    assert rows["upstream"] == "8 requests 0 requests 0 requests stopped"
    size, unit, *_ = rows["all"].split()
    assert rows["saw"] == f"{size} {unit} 0 B 0 B"


def test_images_come_from_peers_once_one_node_has_them(environment):
    """Port 5000 is taken here, so that another one has to go all the way through the chain."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.3", 5000))
            taken.listen()
        except OSError:
            pass  # by somebody else
        result = run(environment)
    assert (result.returncode, result.stderr) == (0, "")
    assert "UPDATE OperatingSystemConfig\n" in result.stdout
    assert re.search(r"allowed; JSON patch of \d+ operations, [\d,]+ bytes; [\d.]+ ms", result.stdout)
    assert "registries    ~ docker.io, registry.k8s.io\n                 + _default\n" in result.stdout
    assert "units         + spegel.service, spegel-metrics.service\n" in result.stdout
    assert re.search(r"asked again   allowed; no patch; [\d.]+ ms\n", result.stdout)
    assert "warning" not in result.stdout
    [port] = re.findall(r"port 5000, so the Shoot asks for registryPort: (\d+)\n", result.stdout)
    assert f"--registry-addr=:{port}\n" in result.stdout
    assert re.findall(r"http://127\.0\.0\.([2-4]):\d+/debug/web/", result.stdout) == ["2", "3", "4"]
    assert_peers_gave_what_upstream_gave_once(result.stdout)
    assert "\x1b" not in result.stdout
    assert "━" not in result.stdout
    assert_nothing_is_left(environment, result.stdout)


def test_a_file_of_ones_own_on_a_terminal_of_80_columns(environment):
    output = on_a_terminal(environment, SAMPLES / "admissionreview-update.json")
    assert "\x1b[1;36m" in output
    assert "\x1b[1A" in output  # the bars move
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", output).replace("\r\n", "\n").replace("\r", "\n")
    assert "shoot--crazy--botany/" in plain
    assert "━━━━" in plain
    assert max(map(len, plain.splitlines())) <= 80
    assert_peers_gave_what_upstream_gave_once(plain)
    assert_nothing_is_left(environment, plain)


def test_colours_are_not_for_those_who_want_none(environment):
    output = on_a_terminal(environment | {"NO_COLOR": "1"}, SAMPLES / "osc-provision.yaml")
    assert "its nodes get no cache" in output
    assert not re.search(r"\x1b\[[\d;]*3\d", output)


def on_a_terminal(environment: dict[str, str], *arguments: str | Path) -> str:
    """Run the demo on a terminal, successfully, and return all that it writes there."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    command = [*COMMAND, *arguments]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        output = b""
        while chunk := _read_terminal(ours):
            output += chunk
    os.close(ours)
    assert process.returncode == 0, output.decode()
    return output.decode()


def _read_terminal(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # how Linux says that nobody holds the other side any more
        return b""


def test_to_be_explored_it_stays_up(environment, tmp_path):
    with running(environment, "--keep") as demo:
        demo.until("sudo ctr")
        printed = demo.output.rpartition("stopped:\n\n")[2].splitlines()
        commands = {line.partition(" ")[0]: line for line in printed}
        assert list(commands) == ["curl", "skopeo", "crane", "sudo"]
        pages = re.findall(r"http://127\.0\.0\.(?:\d):\d+/debug/web/", demo.output)
        assert len(set(pages)) == 5
        for page in pages:
            with urllib.request.urlopen(page) as answer:
                assert b"<title>" in answer.read()
        manifest = shell(commands["curl"], tmp_path)
        assert len(json.loads(manifest)["layers"]) == 5
        shell(commands["skopeo"], tmp_path)
        assert demo.end(signal.SIGTERM) == "demo: stopped\n"
    assert demo.process.returncode == 143
    assert_nothing_is_left(environment, demo.output)
    digest = hashlib.sha256((tmp_path / "shop" / "manifest.json").read_bytes()).hexdigest()
    assert f"@sha256:{digest} " in commands["skopeo"]


def shell(command: str, directory: Path) -> str:
    """Run a command that the demo has printed; return its output.

    A few times, if need be: the daemon looks for peers for no longer than 20 ms, which a machine that is busy
    with other tests may not have for it, and neither client has another place to ask.
    """
    program = command.partition(" ")[0]
    if shutil.which(program) is None:
        reason = f"needs Debian's package {program}"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    for _ in range(5):
        result = subprocess.run(
            ["/bin/sh", "-c", command], cwd=directory, capture_output=True, text=True, check=False
        )
        if result.returncode == 0:
            break
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize(
    ("number", "moment"), [(signal.SIGINT, "Each of them pulls"), (signal.SIGHUP, "1. A seed,")]
)
def test_a_signal_ends_all_of_it(environment, number, moment):
    with running(environment) as demo:
        demo.until(moment)
        demo.process.send_signal(number)  # someone impatient
        assert demo.end(number) == "demo: stopped\n"
    assert demo.process.returncode == 128 + number
    assert list(Path(environment["TMPDIR"]).iterdir()) == []
    assert processes(environment) == {}


def test_a_part_that_ends_in_the_middle_ends_all_with_the_end_of_its_log(environment):
    with running(environment) as demo:
        demo.until("Each of them pulls")
        [daemon] = [pid for pid, line in processes(environment).items() if "/node-2/images" in line]
        os.kill(daemon, signal.SIGKILL)
        errors = demo.end()
    assert demo.process.returncode == 1
    first, *log = errors.splitlines()
    assert first == "demo: node 2 ended by signal 9. The end of its log:"
    assert any('"msg":"listening"' in line for line in log)
    assert "Traceback" not in errors
    assert_nothing_is_left(environment, demo.output)


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


def test_what_the_webhook_leaves_alone_gives_no_node_a_cache(environment):
    result = run(environment, SAMPLES / "osc-provision.yaml")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.count("allowed; no patch") == 2
    assert "its nodes get no cache" in result.stdout
    assert_nothing_is_left(environment, result.stdout)


def test_an_object_without_spec_gives_no_node_a_cache(environment, tmp_path):
    file = tmp_path / "osc.yaml"
    file.write_text("kind: OperatingSystemConfig\nmetadata: {name: a, namespace: shoot--a--b}\n")
    result = run(environment, file)
    assert (result.returncode, result.stderr) == (0, "")
    assert "its nodes get no cache" in result.stdout


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
