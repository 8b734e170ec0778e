"""spegel_metrics.sh: fresh and whole figures for node-exporter, or none at all."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.metrics_script import SCRIPT, Answer, Daemon, Script, eventually, raw, whole

FIGURES = b"# HELP spegel_figure A figure.\n# TYPE spegel_figure gauge\nspegel_figure 1\n"
OTHER_FIGURES = FIGURES.replace(b"figure 1", b"figure 2")
OWN = (
    b"# HELP go_goroutines Goroutines of another program.\n# TYPE go_goroutines gauge\ngo_goroutines 7\n"
    b"# HELP process_open_fds Files of another program.\n# TYPE process_open_fds gauge\nprocess_open_fds 7\n"
    b"# TYPE promhttp_metric_handler_requests_total counter\n"
    b'promhttp_metric_handler_requests_total{code="200"} 7\n'
    b'# HELP python_info Ours.\n# TYPE python_info gauge\npython_info{version="3.11"} 1\n'
    b"# TYPE node_textfile_scrape_error gauge\nnode_textfile_scrape_error 7\n"
)
BIG_FIGURES = b"".join(b"spegel_figure_%d 1\n" % number for number in range(4_000))


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    daemon = Daemon()
    daemon.answer = whole(FIGURES)
    yield daemon
    daemon.stop()


@pytest.fixture
def start(daemon: Daemon, tmp_path: Path) -> Iterator[Callable[..., Script]]:
    started: list[Script] = []

    def start(*prefix: str, interval: str = "0.05") -> Script:
        started.append(Script(daemon, tmp_path, *prefix, interval=interval))
        return started[-1]

    yield start
    for script in started:
        script.kill()


@pytest.fixture
def scrape(tmp_path: Path) -> Iterator[Callable[[], str]]:
    """A real node exporter that reads the directory; returns how to scrape it."""
    program = shutil.which("prometheus-node-exporter")
    if program is None:
        message = "prometheus-node-exporter is not installed (Debian package prometheus-node-exporter)"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    directory = tmp_path / "node exporter" / "textfile"
    directory.mkdir(parents=True)
    log = tmp_path / "node-exporter.log"
    options = ["--collector.disable-defaults", "--collector.textfile", "--web.listen-address=127.0.0.1:0"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, *options, f"--collector.textfile.directory={directory}"], stderr=output
        )
    try:
        eventually(lambda: "TLS is disabled" in log.read_text(), "node exporter listens")
        address = re.findall(r'Listening on" address=(\S+)', log.read_text())[-1]

        def scrape() -> str:
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as response:
                return response.read().decode()

        yield scrape
    finally:
        process.terminate()
        process.wait()


def figures(scraped: str) -> dict[str, float]:
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(scraped)
        for sample in family.samples
    }


def test_the_daemons_figures_appear_in_node_exporter_and_disappear_with_the_daemon(daemon, start, scrape):
    start()
    eventually(lambda: figures(scrape()).get("spegel_figure") == 1, "the figure appears")
    daemon.answer = whole(OTHER_FIGURES)
    eventually(lambda: figures(scrape()).get("spegel_figure") == 2, "the figure changes")
    daemon.stop()
    eventually(lambda: "spegel_figure" not in figures(scrape()), "the figure disappears")
    assert figures(scrape())["node_textfile_scrape_error"] == 0


def test_families_that_node_exporter_has_itself_are_left_out(daemon, start, scrape):
    daemon.answer = whole(FIGURES + OWN + FIGURES.replace(b"spegel_", b"spegel_go_"))
    script = start()
    eventually(script.published.exists, "figures are published")
    assert script.content() == FIGURES + FIGURES.replace(b"spegel_", b"spegel_go_")

    # Scraped twice: an error of one scrape is counted in the next.
    scrape()
    scraped = figures(scrape())
    assert scraped["spegel_figure"] == 1
    assert scraped["node_textfile_scrape_error"] == 0
    assert scraped["promhttp_metric_handler_errors_total"] == 0


def test_without_that_node_exporter_would_fail(scrape, tmp_path):
    (tmp_path / "node exporter" / "textfile" / "spegel.prom").write_bytes(FIGURES + OWN)
    scrape()
    assert 'promhttp_metric_handler_errors_total{cause="gathering"} 1' in scrape()


def test_every_value_and_label_that_prometheus_can_write_passes(daemon, start):
    registry = CollectorRegistry()
    gauge = Gauge("spegel_gauge", 'A "gauge" \\ of\nmany values', ["label", "_2"], registry=registry)
    for value in ("inf", "-inf", "nan", "0", "-1.5e-300", "1e+21", "123456789.25"):
        gauge.labels('quote " } backslash \\ newline \n # blank, comma', value).set(float(value))
    gauge.labels("ünïcode", "").set(1)
    Histogram("http_request_duration_seconds", "", ["handler"], registry=registry).labels("/v2/*").observe(1)
    Counter("spegel_mirror_requests", "", registry=registry).inc()
    Info("spegel_build", "", registry=registry).info({"version": "v0.1.0"})
    body = generate_latest(registry)
    daemon.answer = whole(body)
    script = start()
    eventually(lambda: script.content() == body, "the whole body is published")


def test_the_directory_is_made_and_everyone_may_read_the_file(start):
    script = start("/bin/sh", "-c", 'umask 077; exec "$@"', "sh")
    eventually(script.published.exists, "figures are published")
    assert script.published.stat().st_mode & 0o777 == 0o644
    assert script.directory.stat().st_mode & 0o777 == 0o755
    shutil.rmtree(script.directory)
    eventually(script.published.exists, "the directory is made again")


def test_the_port_is_the_one_that_the_webhook_writes_in(daemon, tmp_path):
    text = SCRIPT.read_text()
    assert text.count("@METRICS_PORT@") == 1
    rendered = tmp_path / "spegel_metrics.sh"
    rendered.write_text(text.replace("@METRICS_PORT@", str(daemon.port)))
    process = subprocess.Popen(
        ["/bin/bash", rendered], env={**os.environ, "SPEGEL_METRICS_DIR": str(tmp_path)}
    )
    try:
        eventually((tmp_path / "spegel.prom").exists, "figures are published")
    finally:
        process.terminate()
        process.wait()


def chunked_without_end(body: bytes) -> Answer:
    return raw(b"200 OK\r\nTransfer-Encoding: chunked", b"%x\r\n%b\r\n" % (len(body), body))


def more_than_the_limit(request: BaseHTTPRequestHandler) -> None:
    chunk = b"%x\r\n%b\r\n" % (len(BIG_FIGURES), BIG_FIGURES)
    raw(b"200 OK\r\nTransfer-Encoding: chunked")(request)
    for _ in range(60):
        request.wfile.write(chunk)
    request.wfile.write(b"0\r\n\r\n")


def slow(request: BaseHTTPRequestHandler) -> None:
    """Writes good figures, but never ends; returns when the script has given up."""
    raw(b"200 OK\r\nContent-Length: 1000000", BIG_FIGURES)(request)
    while True:
        request.wfile.write(FIGURES)
        time.sleep(0.05)


NOT_METRICS = "is not metrics, or was cut off"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(whole(FIGURES, b"500 Internal Server Error"), "an HTTP error", id="500"),
        pytest.param(whole(b"404 page not found\n", b"404 Not Found"), "an HTTP error", id="404"),
        pytest.param(whole(b"<html>\n<body>Error</body>\n</html>\n"), NOT_METRICS, id="HTML with 200"),
        pytest.param(whole(b"no healthy upstream\n"), NOT_METRICS, id="text with 200"),
        pytest.param(whole(b"spegel_figure 1.2.3\n"), NOT_METRICS, id="not a number"),
        pytest.param(whole(b"spegel_figure{label} 1\n"), NOT_METRICS, id="label without value"),
        pytest.param(whole(b"spegel_figure 1 1700000000000\n"), NOT_METRICS, id="timestamp"),
        pytest.param(whole(b"\x7fELF\x00\x00\x00\n\xff\xfe\n"), NOT_METRICS, id="binary"),
        pytest.param(raw(b"302 Found\r\nContent-Length: 0\r\nLocation: /"), NOT_METRICS, id="redirect"),
        pytest.param(whole(b""), NOT_METRICS, id="empty"),
        pytest.param(whole(FIGURES[:-1]), NOT_METRICS, id="without final newline"),
        pytest.param(raw(b"200 OK", FIGURES[:-3]), NOT_METRICS, id="cut off, no length announced"),
        pytest.param(
            raw(b"200 OK\r\nContent-Length: 1000", FIGURES), "before its announced length", id="cut off"
        ),
        pytest.param(
            chunked_without_end(FIGURES), "before its announced length", id="cut off between chunks"
        ),
        pytest.param(lambda request: None, "curl exit status 52", id="no answer"),
        pytest.param(
            raw(b"200 OK\r\nContent-Length: 99999999"), "has more than 4096 KiB", id="too long, announced"
        ),
        pytest.param(more_than_the_limit, "has more than 4096 KiB", id="too long, chunked"),
    ],
)
def test_a_bad_answer_withdraws_the_figures_until_a_good_one(daemon, start, answer, reason):
    script = start()
    eventually(script.published.exists, "figures are published")
    daemon.answer = answer
    eventually(script.said, "the reason is said")
    assert not script.published.exists()
    daemon.answers(5)  # the same again is no news
    daemon.answer = whole(OTHER_FIGURES)
    eventually(lambda: script.content() == OTHER_FIGURES, "figures are published again")
    eventually(lambda: len(script.said()) > 1, "the recovery is said")
    first, second = script.said()
    assert reason in first
    assert "published again" in second


def test_a_slow_answer_is_given_up(daemon, start):
    daemon.answer = slow
    script = start(interval="86400")
    eventually(script.said, "the reason is said")
    assert "did not answer in full within 4 s" in script.said()[0]
    assert list(script.directory.iterdir()) == []


def test_a_reader_sees_a_whole_file_at_any_moment(daemon, start):
    bodies = [BIG_FIGURES, BIG_FIGURES.replace(b" 1\n", b" 2\n")]

    def alternate(request: BaseHTTPRequestHandler) -> None:
        whole(bodies[daemon.requests % 2])(request)

    daemon.answer = alternate
    script = start(interval="0.01")
    eventually(script.published.exists, "figures are published")
    enough = daemon.requests + 10
    while daemon.requests < enough:
        assert script.content() in bodies


def test_a_killed_run_leaves_nothing_broken_and_the_next_one_cleans_up(daemon, start, scrape):
    script = start()
    eventually(script.published.exists, "figures are published")
    temporary = script.directory / ".spegel.prom.tmp"
    daemon.answer = slow
    eventually(lambda: temporary.exists() and temporary.stat().st_size, "a file is half written")
    script.kill()
    assert temporary.exists()
    assert script.content() == FIGURES
    assert figures(scrape())["node_textfile_scrape_error"] == 0

    answer_now = threading.Event()

    def late(request: BaseHTTPRequestHandler) -> None:
        answer_now.wait(timeout=30)
        whole(OTHER_FIGURES)(request)

    daemon.answer = late
    again = start()
    daemon.answers(1)
    assert again.content() is None, "figures from before the crash are not fresh"
    assert not temporary.exists() or temporary.stat().st_size == 0
    answer_now.set()
    eventually(lambda: again.content() == OTHER_FIGURES, "figures are published")


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_between_two_rounds(start, signal_number):
    script = start(interval="86400")
    eventually(script.published.exists, "figures are published")
    script.process.send_signal(signal_number)
    assert script.process.wait(timeout=30) == 0
    assert list(script.directory.iterdir()) == []
    assert script.children() == []
    assert script.said() == []


def test_a_signal_ends_it_while_it_fetches(daemon, start):
    script = start(interval="86400")
    eventually(script.published.exists, "figures are published")
    script.kill()
    daemon.answer = slow
    script = start(interval="86400")
    eventually((script.directory / ".spegel.prom.tmp").exists, "a fetch is under way")
    script.process.terminate()
    assert script.process.wait(timeout=30) == 0
    assert list(script.directory.iterdir()) == []
    assert script.children() == []
    assert script.said() == []


@pytest.fixture
def on_a_tmpfs(tmp_path: Path) -> Callable[[str], tuple[str, ...]]:
    """Returns the command that puts a small file system of its own below the script's directory."""
    unshare = ("unshare", "--mount", "--map-root-user")
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespaces here: a full disk cannot be made")
    mount_point = tmp_path / "node exporter"
    mount_point.mkdir()
    mount, bash = shutil.which("mount"), "/bin/bash"

    def command(options: str) -> tuple[str, ...]:
        commands = f'"{mount}" -t tmpfs -o "{options}" tmpfs "{mount_point}" && exec "$@"'
        return (shutil.which("unshare") or "unshare", *unshare[1:], bash, "-c", commands, "bash")

    return command


def test_a_full_disk_is_said_once_and_survived(daemon, start, on_a_tmpfs):
    daemon.answer = whole(BIG_FIGURES)
    script = start(*on_a_tmpfs("size=64k"))
    eventually(script.said, "the full disk is said")
    daemon.answers(5)
    inside = Path(f"/proc/{script.process.pid}/root") / script.directory.relative_to("/")
    daemon.answer = whole(FIGURES)
    eventually((inside / "spegel.prom").exists, "figures are published once there is room")
    eventually(lambda: len(script.said()) > 1, "the recovery is said")
    first, second = script.said()
    assert "is the disk full?" in first
    assert "published again" in second


def test_a_read_only_directory_is_said_once_and_survived(daemon, start, on_a_tmpfs):
    script = start(*on_a_tmpfs("ro"), interval="0.01")
    eventually(script.said, "the directory is named")
    [line] = script.said()
    assert f"cannot create the directory {script.directory}" in line
    assert script.process.poll() is None
