"""The launcher, with a small tree of files in place of the daemon's.

Its program is a shell script that prints its process ID, the directory it is in, and its arguments, and then
waits for the end of its input.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from binary.archive import pack
from binary.compiler import compile_launcher
from tests.daemon.clients.programs import missing, run

LIMIT = 20.0
SCRIPT = '#!/bin/sh\necho $$ "${LD_LIBRARY_PATH%/lib}" "$(umask)" "$@"\ncat\n'
LARGE = 300_000


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return what compiles a launcher, of a version that its tree differs by."""
    if not shutil.which("gcc"):
        missing("gcc is not installed (Debian packages gcc, libc6-dev, zlib1g-dev)")

    def launcher(version: str) -> Path:
        directory = tmp_path_factory.mktemp("tree")
        tree, output = directory / "tree", directory / "spegel"
        (tree / "bin").mkdir(parents=True)
        (tree / "lib" / "empty").mkdir(parents=True)
        (tree / "bin" / "spegel").write_text(SCRIPT)
        (tree / "lib" / "a name with spaces").write_text(version)
        (tree / "lib" / "large").write_bytes(os.urandom(LARGE))
        (tree / "lib" / "nothing").touch()
        compile_launcher(pack(tree), output)
        return output

    return launcher


@pytest.fixture(scope="module")
def old(make: Callable[[str], Path]) -> Path:
    return make("old")


@pytest.fixture(scope="module")
def new(make: Callable[[str], Path]) -> Path:
    return make("new")


@dataclass(frozen=True)
class Started:
    """A program that waits."""

    process: subprocess.Popen[str]
    pid: int
    directory: Path
    umask: str
    arguments: list[str] = field(default_factory=list)


@contextlib.contextmanager
def running(launcher: Path, directory: Path, *arguments: str) -> Iterator[Started]:
    with subprocess.Popen(
        [launcher, *arguments],
        env={"SPEGEL_UNPACK_DIR": str(directory), "PATH": os.environ["PATH"]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            pid, where, umask, *rest = process.stdout.readline().split()
            yield Started(process, int(pid), Path(where), umask, rest)
        finally:
            process.kill()


def start(launcher: Path, directory: Path) -> Path:
    """Run a program to its end; return the directory that it was unpacked to."""
    with running(launcher, directory) as program:
        return program.directory


def start_alone(launcher: Path, directory: Path) -> Path:
    """Run a program until none but its own directory is left.

    What a killed one has started may hold its directory a moment longer.
    """
    deadline = time.monotonic() + LIMIT
    while True:
        tree = start(launcher, directory)
        if names(directory) == [tree.name]:
            return tree
        assert time.monotonic() < deadline, names(directory)


def refused(launcher: Path, directory: Path) -> str:
    """Run what cannot run; return what it says."""
    environment = {"SPEGEL_UNPACK_DIR": str(directory)}
    result = subprocess.run(
        [launcher], env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert (result.returncode, result.stdout) == (1, "")
    return result.stderr


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_it_becomes_the_program(old: Path, tmp_path: Path) -> None:
    with running(old, tmp_path / "base", "registry", "--flag", "ä") as program:
        assert program.pid == program.process.pid
        assert program.arguments == ["-I", "-S", "-X", "utf8", "-m", "daemon", "registry", "--flag", "ä"]
        assert program.directory.parent == tmp_path / "base"


def test_it_unpacks_all_directories_and_files(old: Path, tmp_path: Path) -> None:
    tree = start(old, tmp_path)
    found = {str(path.relative_to(tree)): path.stat().st_size for path in tree.rglob("*") if path.is_file()}
    assert found == {
        "bin/spegel": len(SCRIPT),
        "lib/a name with spaces": 3,
        "lib/large": LARGE,
        "lib/nothing": 0,
    }
    assert (tree / "lib" / "empty").is_dir()
    assert (tree / "lib" / "a name with spaces").read_text() == "old"


def test_it_unpacks_once(old: Path, tmp_path: Path) -> None:
    tree = start(old, tmp_path)
    before = {path: path.stat() for path in (tmp_path, *tmp_path.rglob("*"))}
    assert start(old, tmp_path) == tree
    after = {path: path.stat() for path in (tmp_path, *tmp_path.rglob("*"))}
    assert {path: (stat.st_ino, stat.st_mtime_ns) for path, stat in before.items()} == {
        path: (stat.st_ino, stat.st_mtime_ns) for path, stat in after.items()
    }


def test_what_was_killed_midway_is_replaced(old: Path, tmp_path: Path) -> None:
    def midway() -> None:
        # The kernel ends a process that writes a larger file, at once.
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGE // 2, LARGE // 2))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    for _ in range(3):
        killed = subprocess.run(
            [old], env={"SPEGEL_UNPACK_DIR": str(tmp_path)}, preexec_fn=midway, timeout=LIMIT, check=False
        )
        assert killed.returncode == -signal.SIGXFSZ
        assert names(tmp_path) == ["program-partial"]
    tree = start(old, tmp_path)
    assert names(tmp_path) == [tree.name]
    assert (tree / "lib" / "large").stat().st_size == LARGE


@pytest.mark.parametrize("damage", [lambda file: os.truncate(file, 0), Path.unlink], ids=["empty", "missing"])
def test_what_is_not_complete_is_replaced(damage: Callable[[Path], None], old: Path, tmp_path: Path) -> None:
    damage(start(old, tmp_path) / "lib" / "large")
    assert (start(old, tmp_path) / "lib" / "large").stat().st_size == LARGE
    assert len(names(tmp_path)) == 1


def test_another_version_takes_the_place_of_one_that_was_killed(old: Path, new: Path, tmp_path: Path) -> None:
    with running(old, tmp_path) as program:
        program.process.send_signal(signal.SIGKILL)
        program.process.wait(LIMIT)
    tree = start_alone(new, tmp_path)
    assert (tree / "lib" / "a name with spaces").read_text() == "new"


def test_a_version_that_runs_keeps_its_files(old: Path, new: Path, tmp_path: Path) -> None:
    with running(old, tmp_path) as program:
        other = start(new, tmp_path)
        assert names(tmp_path) == sorted([program.directory.name, other.name])
        assert (program.directory / "lib" / "large").stat().st_size == LARGE
    assert start_alone(new, tmp_path) == other


def test_what_is_not_its_own_is_left_alone(old: Path, tmp_path: Path) -> None:
    (tmp_path / "private.key").write_text("x")
    (tmp_path / "programs").mkdir()
    tree = start(old, tmp_path)
    assert names(tmp_path) == sorted(["private.key", tree.name, "programs"])


def test_many_may_start_at_once(old: Path, new: Path, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(running((old, new)[n % 2], tmp_path)) for n in range(2)]
        environment = {"SPEGEL_UNPACK_DIR": str(tmp_path), "PATH": os.environ["PATH"]}
        more = [
            subprocess.Popen((old, new)[n % 2], env=environment, stdin=subprocess.DEVNULL) for n in range(8)
        ]
        assert [process.wait(LIMIT) for process in more] == [0] * 8
        assert names(tmp_path) == sorted(program.directory.name for program in started)


def test_the_umask_is_the_programs_alone(old: Path, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with running(old, tmp_path) as program:
            assert program.umask == "0077"
            assert (program.directory / "bin" / "spegel").stat().st_mode & 0o777 == 0o755
    finally:
        os.umask(before)


def test_without_the_variable_it_finds_a_place(old: Path, tmp_path: Path) -> None:
    if Path("/var/lib/spegel").exists():
        pytest.skip("this machine has a /var/lib/spegel")
    environment = {"TMPDIR": str(tmp_path), "PATH": os.environ["PATH"]}
    result = subprocess.run(
        [old], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    assert Path(result.stdout.split()[1]).parent == tmp_path / f"spegel-{os.geteuid()}"


@pytest.mark.root
@pytest.mark.parametrize("options", ["noexec", "ro"])
def test_a_place_that_no_program_can_run_from_is_passed_over(options: str, old: Path, tmp_path: Path) -> None:
    needs_root()
    with mounted(tmp_path, options):
        environment = {"TMPDIR": str(tmp_path), "PATH": os.environ["PATH"]}
        result = subprocess.run(
            [old], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
        )
        used = Path(result.stdout.split()[1]).parent
        assert used == Path(f"/var/tmp/spegel-{os.geteuid()}")
        if names(used) == [result.stdout.split()[1].rpartition("/")[2]]:
            shutil.rmtree(used)


@pytest.mark.root
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("noexec", "its file system is mounted noexec"),
        ("ro", "Read-only file system"),
        ("size=64k", "No space left"),
    ],
)
def test_a_chosen_place_that_does_not_do_is_refused(
    options: str, reason: str, old: Path, tmp_path: Path
) -> None:
    needs_root()
    with mounted(tmp_path, options):
        assert reason in refused(old, tmp_path / "base")
        if options != "ro":
            assert names(tmp_path / "base") == []


def test_a_place_that_others_can_write_to_is_refused(old: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert "others can write to it" in refused(old, tmp_path)
    assert names(tmp_path) == []


@pytest.mark.root
def test_another_users_place_is_refused(old: Path, tmp_path: Path) -> None:
    needs_root()
    os.chown(tmp_path, 65534, 65534)
    assert "another user's" in refused(old, tmp_path)


def test_a_link_is_refused(old: Path, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to("target")
    assert "link" in refused(old, tmp_path / "link")
    assert names(tmp_path / "target") == []


def test_a_damaged_file_is_noticed(old: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "spegel"
    content = bytearray(old.read_bytes())
    content[len(content) // 2] ^= 1  # most of it is the large file's content
    damaged.write_bytes(content)
    damaged.chmod(0o755)
    assert "own file is damaged" in refused(damaged, tmp_path / "base")
    assert names(tmp_path / "base") == []


def needs_root() -> None:
    if os.geteuid() != 0:
        missing("mounting and changing owners needs root")


@contextlib.contextmanager
def mounted(directory: Path, options: str) -> Iterator[None]:
    run("mount", "-t", "tmpfs", "-o", options, "spegel-test", directory)
    try:
        yield
    finally:
        run("umount", directory)
