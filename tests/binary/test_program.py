"""The built program, as a node has it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.cli.program import LIMIT, Program, free_port, running_command
from tests.daemon.clients.programs import missing
from tests.daemon.images import make_image
from tests.daemon.layouts import lay_out

GLIBC = (2, 36)
"""Debian 12's."""
OF_GLIBC = re.compile(r"(ld-linux.*|lib(c|m|dl|pthread|resolv|nss_\w+))\.so\.\d+")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "base"


def version(program: Path, base: Path, *before: str) -> str:
    """Run ``spegel version`` with next to no environment."""
    result = subprocess.run(
        [*before, program, "version"],
        env={"SPEGEL_UNPACK_DIR": str(base)},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def is_version(text: str) -> bool:
    return (
        re.fullmatch(
            r"spegel version \d+\.\d+\.\d+ ([0-9a-f]{40}(-dirty)?|unknown)\n"
            r"Python 3\.\d+\.\d+, cryptography \S+, grpclib \S+, h2 \S+, httptools \S+, "
            r"prometheus-client \S+, protobuf \S+\n",
            text,
        )
        is not None
    )


def test_it_knows_what_it_is_made_of(program: Path, base: Path) -> None:
    assert is_version(version(program, base))


def test_nothing_of_the_users_python_has_a_say(program: Path, base: Path, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('not this one')")
    environment = {"SPEGEL_UNPACK_DIR": str(base), "PYTHONPATH": str(tmp_path), "PYTHONHOME": "/nowhere"}
    result = subprocess.run(
        [program, "version", "--format", "json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.root
def test_it_runs_as_nobody(program: Path) -> None:
    if os.geteuid() != 0:
        missing("to become another user needs root")
    copy = Path("/var/tmp/spegel-test-as-nobody")
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    try:
        shutil.copy(program, copy / "spegel")
        os.chown(copy, 65534, 65534)
        become = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        assert is_version(version(copy / "spegel", copy / "base", *become))
    finally:
        shutil.rmtree(copy)


@pytest.mark.root
def test_it_runs_without_a_network(program: Path, base: Path) -> None:
    if os.geteuid() != 0:
        missing("a network namespace needs root")
    assert is_version(version(program, base, "unshare", "--net"))


def test_it_needs_no_newer_glibc_than_debians(program: Path, base: Path) -> None:
    version(program, base)
    (tree,) = base.iterdir()
    wanted = {
        tuple(map(int, found.split(b".")))
        for file in (program, *tree.rglob("*"))
        if file.is_file() and (content := file.read_bytes()).startswith(b"\x7fELF")
        for found in re.findall(rb"\0GLIBC_(\d+\.\d+)", content)
    }
    assert wanted
    assert max(wanted) <= GLIBC


def test_it_brings_all_libraries_but_glibcs(program: Path, base: Path) -> None:
    version(program, base)
    (tree,) = base.iterdir()
    files = [tree / "bin" / "spegel", *tree.rglob("*.so"), *tree.rglob("*.so.*")]
    environment = {"LD_LIBRARY_PATH": str(tree / "lib"), "LC_ALL": "C"}
    result = subprocess.run(["ldd", *files], env=environment, capture_output=True, text=True, check=True)
    elsewhere = {
        path
        for path in re.findall(r"=> (.*?)(?: \(0x\w+\))?$", result.stdout, re.MULTILINE)
        if not path.startswith(str(tree))
    }
    assert {Path(path).name for path in elsewhere} <= {
        "libc.so.6",
        "libm.so.6",
        "libpthread.so.0",
        "libdl.so.2",
    }


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """A store with an image."""
    layout = tmp_path / "layout"
    lay_out(layout, {"docker.io/library/app:1": make_image(1)})
    return layout


@pytest.fixture
def daemon(program: Path, base: Path, layout: Path) -> Iterator[tuple[Program, str]]:
    """A daemon that listens, and the address of its metrics."""
    metrics = f"127.0.0.1:{free_port()}"
    with running_command(daemon_command(program, layout, metrics), SPEGEL_UNPACK_DIR=str(base)) as process:
        process.wait_for_log("listening")
        yield process, metrics


def daemon_command(program: Path, layout: Path, metrics: str) -> list[str]:
    flags = ("--bootstrap-kind=static", f"--registry-addr=127.0.0.1:{free_port()}", f"--oci-layout={layout}")
    return [str(program), "registry", *flags, f"--metrics-addr={metrics}", "--debug-web-enabled=true"]


def test_it_is_one_process_that_systemd_can_stop(daemon: tuple[Program, str]) -> None:
    process, _ = daemon
    children = Path(f"/proc/{process.process.pid}/task/{process.process.pid}/children")
    assert children.read_text() == ""
    assert process.terminate() == 0


def test_its_debug_page_has_its_style_and_script(daemon: tuple[Program, str]) -> None:
    with urllib.request.urlopen(f"http://{daemon[1]}/debug/web/") as response:
        page = response.read().decode()
    assets = re.findall(r'(?:href|src)="([^"]+\.(?:css|js))"', page)
    assert {Path(asset).suffix for asset in assets} == {".css", ".js"}
    for asset in assets:
        with urllib.request.urlopen(f"http://{daemon[1]}{asset}") as response:
            assert response.status == 200


def test_a_running_one_uses_its_own_libraries(daemon: tuple[Program, str]) -> None:
    maps = Path(f"/proc/{daemon[0].process.pid}/maps").read_text()
    mapped = {Path(line.split()[-1]) for line in maps.splitlines() if ".so" in line}
    own = {path for path in mapped if "/base/program-" in str(path)}
    assert own
    assert all(OF_GLIBC.fullmatch(path.name) for path in mapped - own)


def test_nothing_piles_up_over_restarts_and_crashes(program: Path, base: Path, layout: Path) -> None:
    found = set()
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGABRT):
        command = daemon_command(program, layout, f"127.0.0.1:{free_port()}")
        with running_command(command, SPEGEL_UNPACK_DIR=str(base)) as process:
            process.wait_for_log("listening")
            process.terminate(number)
        (tree,) = base.iterdir()
        found.add((tree, tree.stat().st_ino, sum(1 for _ in tree.rglob("*"))))
    assert len(found) == 1
