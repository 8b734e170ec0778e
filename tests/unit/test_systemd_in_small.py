"""The small systemd of the end-to-end tests starts, watches and ends services as the real one does."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.e2e.node.systemd import JobError, Systemd
from tests.e2e.process import Process, wait_until

STAYS = "exec sleep 1000"
TELLS = """
import os, socket, sys, time
def tell(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(text, os.environ["REAL_SOCKET"])
"""


class Here:
    """This machine, with a directory in the place of /."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def start(self, command: list[str], log: Path, *, environment: Mapping[str, str]) -> Process:
        more = {"ROOT": str(self._root)}
        if "NOTIFY_SOCKET" in environment:
            more["REAL_SOCKET"] = str(self.path(environment["NOTIFY_SOCKET"]))
        return Process(command, log, environment={**environment, **more})

    def path(self, inside: str) -> Path:
        return self._root / inside.lstrip("/")


class Manager(Systemd):
    """A service manager whose services append to one file what they do."""

    def __init__(self, root: Path) -> None:
        (root / "logs").mkdir()
        self._book = root / "book"
        self._directory = root / "etc/systemd/system"
        self._directory.mkdir(parents=True)
        super().__init__(Here(root), root / "logs", limits_memory=False)

    def write(self, name: str, script: str, *settings: str, unit: str = "", install: str = "") -> None:
        start = f"ExecStart=/bin/sh -c {shlex.quote(script.replace('$', '$$'))}"
        text = f"[Unit]\n{unit}\n[Install]\n{install}\n[Service]\n{start}\n" + "\n".join(settings)
        (self._directory / name).write_text(text)

    def write_python(self, name: str, script: str, *settings: str) -> None:
        path = self._directory / f"{name}.py"
        path.write_text(TELLS + script)
        self.write(name, f"exec {sys.executable} {path}", *settings)

    def said(self) -> list[str]:
        return self._book.read_text().split() if self._book.exists() else []


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path)
    try:
        yield manager
    finally:
        manager.close()


def says(word: str, then: str = STAYS) -> str:
    return f'echo {word} >>"$ROOT/book"; {then}'


def test_what_is_needed_is_started_first_and_stopped_last(systemd: Manager) -> None:
    farewell = "/bin/sh -c 'echo {} >>$$ROOT/book'"
    systemd.write("a.service", says("a"), f"ExecStopPost={farewell.format('-a')}")
    relation = "Requires=a.service\nAfter=a.service"
    systemd.write("b.service", says("b"), f"ExecStopPost={farewell.format('-b')}", unit=relation)
    systemd.start("b.service")
    assert (systemd.state("a.service"), systemd.state("b.service")) == ("active", "active")
    wait_until(lambda: len(systemd.said()) == 2, "both")
    systemd.stop("a.service")
    assert systemd.said()[2:] == ["-b", "-a"]
    assert systemd.state("b.service") == "inactive"


def test_a_restart_takes_along_what_needs_it(systemd: Manager) -> None:
    systemd.write("a.service", says("a"))
    systemd.write("b.service", says("b"), unit="Requires=a.service\nAfter=a.service")
    systemd.start("b.service")
    pid = systemd.pid("b.service")
    systemd.restart("a.service")
    assert systemd.pid("b.service") != pid


def test_a_unit_whose_need_fails_is_not_started(systemd: Manager) -> None:
    systemd.write("a.service", "exit 3", "Type=oneshot")
    systemd.write("b.service", says("b"), unit="Requires=a.service\nAfter=a.service")
    with pytest.raises(JobError, match=r"a\.service: /bin/sh: exit status 3"):
        systemd.start("b.service")
    assert systemd.state("a.service") == "failed"
    assert systemd.said() == []


@pytest.mark.parametrize(
    ("policy", "status", "is_restarted"),
    [
        ("always", 0, True),
        ("always", 1, True),
        ("on-failure", 1, True),
        ("on-failure", 0, False),
        ("no", 1, False),
    ],
)
def test_restart(systemd: Manager, policy: str, status: int, *, is_restarted: bool) -> None:
    # The second run stays; whether there is one is known once the first has ended.
    script = f'echo run >>"$ROOT/book"; [ "$(wc -l <"$ROOT/book")" = 1 ] || {STAYS}; exit {status}'
    systemd.write("a.service", script, f"Restart={policy}", "RestartSec=0")
    systemd.start("a.service")
    if is_restarted:
        wait_until(lambda: len(systemd.said()) == 2, "the second run")
        systemd.wait_until_active("a.service")
    else:
        wait_until(lambda: systemd.state("a.service") != "active", "the end")
        assert systemd.state("a.service") == ("failed" if status else "inactive")


def test_what_is_bound_to_a_service_ends_with_it_and_comes_back_with_it(systemd: Manager) -> None:
    systemd.write("a.service", says("a"), "Restart=always", "RestartSec=0")
    systemd.write(
        "b.service", says("b"), unit="BindsTo=a.service\nAfter=a.service", install="WantedBy=a.service"
    )
    systemd.enable("b.service")
    systemd.start("a.service")
    wait_until(lambda: len(systemd.said()) == 2, "the first run of both")
    first = {name: systemd.pid(name) for name in ("a.service", "b.service")}
    os.kill(first["a.service"], signal.SIGKILL)
    wait_until(lambda: len(systemd.said()) == 4, "the second run of both")
    for name, pid in first.items():
        systemd.wait_until_active(name)
        assert systemd.pid(name) != pid


def test_a_service_that_notifies_is_active_once_it_says_so(systemd: Manager) -> None:
    gate = 'open(os.environ["ROOT"] + "/gate").read(); tell(b"READY=1"); time.sleep(1000)'
    systemd.write_python("a.service", f'os.mkfifo(os.environ["ROOT"] + "/gate"); {gate}', "Type=notify")
    systemd.write("b.service", says("b"), unit="Wants=a.service\nAfter=a.service")
    systemd.write_python("c.service", "pass", "Type=notify")
    with pytest.raises(JobError, match=r"c\.service: ended before it was ready"):
        systemd.start("c.service")
    root = systemd._directory.parents[2]
    opened = Process(["/bin/sh", "-c", 'until [ -p "$0" ]; do :; done; : >"$0"', root / "gate"], root / "log")
    systemd.start("b.service")
    assert opened.wait() == 0
    assert systemd.state("a.service") == "active"


@pytest.mark.parametrize(("access", "is_heard"), [("main", False), ("all", True)])
def test_who_may_notify(systemd: Manager, access: str, *, is_heard: bool) -> None:
    from_child = 'os.fork() or (tell(b"READY=1"), os._exit(0)); os.wait()\n'
    systemd.write_python("a.service", from_child, "Type=notify", f"NotifyAccess={access}")
    if is_heard:
        systemd.start("a.service")
    else:
        with pytest.raises(JobError):
            systemd.start("a.service")
        assert "is not listened to" in systemd.log("a.service")


def test_a_service_that_falls_silent_is_ended_and_restarted(systemd: Manager) -> None:
    script = 'print("run", flush=True); tell(b"WATCHDOG=1"); time.sleep(1000)'
    settings = ("WatchdogSec=100ms", "Restart=on-watchdog", "RestartSec=0")
    systemd.write_python("a.service", script, *settings)
    systemd.start("a.service")
    wait_until(lambda: systemd.log("a.service").count("watchdog: nothing was heard") == 2, "two ends")


def test_a_service_whose_process_is_killed_is_restarted_as_its_policy_says(systemd: Manager) -> None:
    systemd.write("a.service", says("a"), "Restart=on-failure", "RestartSec=0")
    systemd.start("a.service")
    systemd.kill("a.service")
    wait_until(lambda: "a" in systemd.said() and systemd.state("a.service") == "active", "the second run")


def test_on_a_host_that_is_lost_nothing_is_done_any_more(systemd: Manager) -> None:
    systemd.write(
        "a.service", says("a"), "Restart=always", "ExecStopPost=/bin/sh -c 'echo end >>$$ROOT/book'"
    )
    systemd.start("a.service")
    wait_until(systemd.said, "its start")
    with systemd.losing():
        os.kill(systemd.pid("a.service"), signal.SIGKILL)
    assert systemd.said() == ["a"]
    assert systemd.state("a.service") == "inactive"


def test_a_unit_that_is_taken_away_is_forgotten(systemd: Manager, tmp_path: Path) -> None:
    systemd.write("a.service", says("a"))
    systemd.write("b.service", says("b"), unit="Requires=a.service\nAfter=a.service")
    systemd.start("b.service")
    systemd.stop("b.service")
    (tmp_path / "etc/systemd/system/b.service").unlink()
    systemd.reload()
    systemd.restart("a.service")
    assert systemd.state("a.service") == "active"
    with pytest.raises(JobError, match=r"there is no unit b\.service"):
        systemd.start("b.service")


def test_a_service_that_does_not_end_is_killed(systemd: Manager) -> None:
    systemd.write(
        "a.service", f'trap "" TERM; {says("a", "while :; do sleep 1000; done")}', "TimeoutStopSec=100ms"
    )
    systemd.start("a.service")
    wait_until(systemd.said, "its start")
    pid = systemd.pid("a.service")
    systemd.stop("a.service")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert "killed, for it did not end" in systemd.log("a.service")


def test_directories_and_environment(systemd: Manager, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("# remark\nB='2'\n")
    settings = ("StateDirectory=x", "Environment=A=1 B=1", "EnvironmentFile=/file", "EnvironmentFile=-/none")
    systemd.write("a.service", 'echo "$A $B $STATE_DIRECTORY"', "Type=oneshot", *settings)
    systemd.start("a.service")
    assert systemd.log("a.service") == "1 2 /var/lib/x\n"
    assert (tmp_path / "var/lib/x").is_dir()


def test_at_boot_all_that_is_enabled_is_started(systemd: Manager) -> None:
    for name, script in (("a", STAYS), ("b", "exit 1"), ("c", STAYS)):
        systemd.write(f"{name}.service", script, install="WantedBy=multi-user.target")
        systemd.enable(f"{name}.service")
    systemd.disable("c.service")
    systemd.boot()
    wait_until(lambda: systemd.state("b.service") == "failed", "the failure")
    assert (systemd.state("a.service"), systemd.state("c.service")) == ("active", "inactive")
