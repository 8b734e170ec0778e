"""One landscape for all stories. ``./toxw -e e2e`` makes it; each story leaves it as it has found it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.clients.programs import missing, program
from tests.e2e.landscape import Landscape
from tests.e2e.memory import check_memory
from tests.e2e.network import Network
from tests.e2e.network import network as open_network
from tests.e2e.node.machine import Node
from tests.e2e.seed.upstream import Upstream
from tests.e2e.summary import Summary

ROOT = Path(__file__).parents[2]
PROGRAMS = ("containerd", "ctr", "docker-registry", "ip", "nginx", "prometheus-node-exporter", "skopeo")
_LOGS = pytest.StashKey[Path]()
_SUMMARY = pytest.StashKey[Summary]()


def pytest_runtest_setup() -> None:
    """Skip what this run was not made for."""
    if not os.environ.get("E2E"):
        pytest.skip("./toxw -e e2e runs it")


def pytest_configure(config: pytest.Config) -> None:
    """Have a summary, and clean up after a SIGTERM as after Ctrl-C."""
    config.stash[_SUMMARY] = Summary()
    if os.environ.get("E2E"):
        signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Account for each story with nodes, while those that it adds are there."""
    landscape = getattr(item, "funcargs", {}).get("landscape")
    if landscape is None:
        return (yield)
    title = item.name.removeprefix("test_").replace("_", " ")
    summary = item.config.stash[_SUMMARY]
    with summary.story(title, landscape):
        result = yield
    for node in landscape.nodes.values():
        summary.add_memory(check_memory(node))
    return result


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what came from where, and where the logs are."""
    if table := config.stash[_SUMMARY].table():
        terminalreporter.section("what nodes got from where")
        terminalreporter.write("\n".join([*table, ""]))
    logs = config.stash.get(_LOGS, None)
    failed = any(terminalreporter.stats.get(kind) for kind in ("failed", "error"))
    if logs and failed:
        terminalreporter.section("logs")
        terminalreporter.write_line(f"the logs of all processes: {logs}")


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """The directory for the log of each process; it stays."""
    if chosen := os.environ.get("E2E_LOGS"):
        directory = Path(chosen)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
    else:
        directory = tmp_path_factory.mktemp("logs")
    pytestconfig.stash[_LOGS] = directory
    return directory


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    with open_network() as network:
        yield network


@pytest.fixture(scope="session")
def landscape(network: Network, logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Landscape]:
    for name in PROGRAMS:
        program(name)
    spegel = ROOT / "dist" / "spegel"
    if not spegel.exists():
        missing("there is no dist/spegel: python -m binary builds it, and so does ./toxw -e e2e")
    landscape = Landscape(network, spegel, tmp_path_factory.mktemp("landscape"), logs)
    yield landscape
    landscape.close()


@pytest.fixture(scope="session")
def upstream(landscape: Landscape) -> Upstream:
    return landscape.upstream


@pytest.fixture(scope="session")
def nodes(landscape: Landscape) -> list[Node]:
    """Three nodes, in the order of their addresses."""
    return landscape.join(11, 12, 13)
