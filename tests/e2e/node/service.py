"""One run of a service, from its directories to what is done after its end."""

from __future__ import annotations

import array
import contextlib
import os
import select
import shutil
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from tests.e2e.node.unit import Command, Unit
from tests.e2e.process import LIMIT, Process, wait_until

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# The cgroup is entered, and the watchdog told whom it watches, by the process that becomes the program.
_ENTER = """
[ -z "$0" ] || echo $$ >"$0"
[ -z "$WATCHDOG_USEC" ] || export WATCHDOG_PID=$$
exec "$@"
"""


class Host(Protocol):
    """Where services run."""

    def start(self, command: list[str], log: Path, *, environment: Mapping[str, str]) -> Process:
        """Start a program there."""

    def path(self, inside: str) -> Path:
        """Return where a file of the host is to be found here."""


class Run:
    """A service that is started, watched, and ended; ``ended`` is called then, unless the host was lost."""

    def __init__(
        self, unit: Unit, host: Host, log: Path, cgroup: Path | None, ended: Callable[[Run], None]
    ) -> None:
        self.unit = unit
        self.failure: str | None = None
        """Why it counts as failed; set once it has ended, or has failed to start."""
        self.is_active = False
        self.was_active = False
        """Whether its start has succeeded, whatever came of it later."""
        self.restarts = False
        """Whether its end, which nobody asked for, is to be followed by a start."""
        self._host = host
        self._log = log
        self._cgroup = cgroup
        self._ended = ended
        self._settled = threading.Event()
        self._is_lost = False
        self._wake_read, self._wake_write = os.pipe()
        self._is_stopping = False
        self._main: Process | None = None
        self._thread = threading.Thread(target=self._live, name=unit.name)

    @property
    def pid(self) -> int:
        """The main process."""
        assert self._main is not None
        return self._main.pid

    def start(self) -> None:
        """Start it and wait until it counts as started, or has failed."""
        self._thread.start()
        self._settled.wait()

    def stop(self) -> None:
        """Ask it to end and wait until it has."""
        self._is_stopping = True
        os.write(self._wake_write, b"x")
        self._thread.join()

    def kill(self) -> None:
        """Kill the main process, and leave what follows to the restart policy."""
        assert self._main is not None
        self._main.signal(signal.SIGKILL)

    def lose(self) -> None:
        """Take note that the host is lost: what ends now is not to be looked after."""
        self._is_lost = True

    def join(self) -> None:
        """Wait until nothing of it runs any more."""
        self._thread.join()

    def _live(self) -> None:
        try:
            with self._notifications() as notifications:
                self._run(notifications)
        except Exception as error:  # noqa: BLE001  # a thread has nobody to raise it to
            self.failure = f"{type(error).__name__}: {error}"
        self.is_active = False
        os.close(self._wake_read)
        os.close(self._wake_write)
        self.restarts = not self._is_stopping and not self._is_lost and self._is_to_be_restarted()
        self._settled.set()
        if not self._is_lost:
            self._ended(self)

    def _run(self, notifications: socket.socket | None) -> None:
        unit = self.unit
        environment = self._environment()
        for command in unit.start_before:
            if failure := self._to_the_end(command, environment):
                self.failure = failure
                return
        if unit.type == "oneshot":
            self._run_once(environment)
        else:
            self._main = self._launch(unit.start[0], environment)
            with self._main.end() as ended:
                self.failure = self._watch(self._main, ended, notifications)
        if self._is_lost:
            return
        for command in unit.stop if self._is_stopping else ():
            self._to_the_end(command, environment)
        self._end_processes()
        for command in unit.stop_after:
            self._to_the_end(command, environment)
        for name in unit.runtime_directories:
            shutil.rmtree(self._host.path(f"/run/{name}"), ignore_errors=True)

    def _run_once(self, environment: Mapping[str, str]) -> None:
        for command in self.unit.start:
            if failure := self._to_the_end(command, environment):
                self.failure = failure
                return
        if self.unit.remain_after_exit:
            self.is_active = True
            self._settled.set()
            select.select([self._wake_read], [], [])

    def _watch(self, main: Process, ended: int, notifications: socket.socket | None) -> str | None:
        """Wait for the end or for the order to end; return what was wrong."""
        unit = self.unit
        if unit.type != "notify":
            self._is_up()
        now = time.monotonic()
        late = now + (unit.start_seconds or LIMIT * 10)
        silent = now + unit.watchdog_seconds if unit.watchdog_seconds else None
        sources: list[int | socket.socket] = [self._wake_read, ended]
        if notifications is not None:
            sources.append(notifications)
        while True:
            limits = [silent] if self.is_active else [silent, late]
            times = [limit for limit in limits if limit is not None]
            timeout = max(0.0, min(times) - time.monotonic()) if times else None
            ready, _, _ = select.select(sources, [], [], timeout)
            if self._wake_read in ready:
                return None
            if notifications is not None and notifications in ready:
                for word in self._told(notifications, main):
                    if word == "READY=1":
                        self._is_up()
                    if word == "WATCHDOG=1" and unit.watchdog_seconds:
                        silent = time.monotonic() + unit.watchdog_seconds
                continue
            if ended in ready:
                return self._judge(main)
            if not self.is_active and time.monotonic() >= late:
                return "timeout"
            main.signal(signal.SIGABRT)
            self._note(f"watchdog: nothing was heard for {unit.watchdog_seconds} s")
            return "watchdog"

    def _is_up(self) -> None:
        self.is_active = self.was_active = True
        self._settled.set()

    def _judge(self, main: Process) -> str | None:
        status = main.wait()
        if status == 0 or (status < 0 and -status in {1, 2, 13, 15}):  # HUP, INT, PIPE, TERM count as clean
            return None if self.is_active or self.unit.type != "notify" else "ended before it was ready"
        return f"exit status {status}" if status > 0 else f"signal {signal.Signals(-status).name}"

    def _is_to_be_restarted(self) -> bool:
        failure = self.failure
        match self.unit.restart:
            case "always":
                return True
            case "on-success":
                return failure is None
            case "on-failure":
                return failure is not None
            case "on-abnormal":
                return failure is not None and not failure.startswith("exit status")
            case "on-watchdog":
                return failure == "watchdog"
            case _:
                return False

    @contextlib.contextmanager
    def _notifications(self) -> Iterator[socket.socket | None]:
        if self.unit.notify_access == "none":
            yield None
            return
        path = self._host.path(self._notify_path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
            notifications.bind(str(path))
            notifications.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            yield notifications

    @property
    def _notify_path(self) -> str:
        return f"/run/systemd/notify/{self.unit.name}"

    def _told(self, notifications: socket.socket, main: Process) -> list[str]:
        """Return what was said, by whom it may be said."""
        size = struct.calcsize("3i")
        data, ancillary, _, _ = notifications.recvmsg(4096, socket.CMSG_SPACE(size))
        pid = array.array("i", ancillary[0][2][:size])[0]
        if self.unit.notify_access == "main" and pid != main.pid:
            self._note(f"a notification of process {pid} is not listened to")
            return []
        return data.decode().splitlines()

    def _environment(self) -> dict[str, str]:
        unit = self.unit
        environment = {"PATH": _PATH, "LANG": "C.UTF-8", "INVOCATION_ID": os.urandom(16).hex()}
        kinds = (("STATE", "/var/lib", unit.state_directories), ("RUNTIME", "/run", unit.runtime_directories))
        for kind, parent, names in kinds:
            for name in names:
                self._host.path(f"{parent}/{name}").mkdir(mode=0o755, parents=True, exist_ok=True)
            if names:
                environment[f"{kind}_DIRECTORY"] = ":".join(f"{parent}/{name}" for name in names)
        environment |= unit.environment
        for name in unit.environment_files:
            file = self._host.path(name.removeprefix("-"))
            if not name.startswith("-") or file.exists():
                environment |= _assignments(file.read_text())
        return environment

    def _launch(self, command: Command, environment: Mapping[str, str]) -> Process:
        """Start the main process."""
        more = {}
        if self.unit.notify_access != "none":
            more["NOTIFY_SOCKET"] = self._notify_path
        if self.unit.watchdog_seconds:
            more["WATCHDOG_USEC"] = str(round(self.unit.watchdog_seconds * 1e6))
        return self._start(command, {**environment, **more})

    def _start(self, command: Command, environment: Mapping[str, str]) -> Process:
        cgroup = "" if self._cgroup is None else str(self._cgroup / "cgroup.procs")
        enter = ["/bin/sh", "-c", _ENTER, cgroup, *command.expand(environment)]
        return self._host.start(enter, self._log, environment=environment)

    def _to_the_end(self, command: Command, environment: Mapping[str, str]) -> str | None:
        status = self._start(command, environment).wait(self.unit.start_seconds or LIMIT)
        if status == 0 or command.may_fail:
            return None
        return f"{command.words[0]}: exit status {status}"

    def _end_processes(self) -> None:
        """End what runs, as KillMode says: first asking, then by force."""
        limit = self.unit.stop_seconds or LIMIT
        self._signal(signal.SIGTERM, to_all=self.unit.kill_mode == "control-group")
        try:
            wait_until(lambda: not self._pids(), f"the end of {self.unit.name}", limit)
        except AssertionError:
            self._note(f"killed, for it did not end within {limit} s")
            self._signal(signal.SIGKILL, to_all=self.unit.kill_mode != "process")
            wait_until(lambda: not self._pids(), f"the end of {self.unit.name}")

    def _signal(self, number: signal.Signals, *, to_all: bool) -> None:
        pids = self._pids() if to_all else self._main_pid()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _pids(self) -> list[int]:
        if self._cgroup is None or self.unit.kill_mode == "process":
            return self._main_pid()
        return list(map(int, (self._cgroup / "cgroup.procs").read_text().split())) or self._main_pid()

    def _main_pid(self) -> list[int]:
        return [self._main.pid] if self._main is not None and self._main.is_running() else []

    def _note(self, text: str) -> None:
        with self._log.open("a") as log:
            log.write(f"systemd: {self.unit.name}: {text}\n")


def _assignments(text: str) -> dict[str, str]:
    """Read an environment file."""
    lines = [line.partition("=") for line in text.splitlines() if not line.startswith(("#", ";"))]
    return {name.strip(): value.strip().strip("\"'") for name, equals, value in lines if equals}
