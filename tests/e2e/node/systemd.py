"""systemd in small: units of type service, their order, what they need of each other, their restarts.

Jobs are done one after another. What is not here: targets other than multi-user, sockets, timers, limits on
how often a service is started.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TypeVar

from tests.daemon.memory.cgroup import Cgroup, memory_cgroup
from tests.e2e.node.service import Host, Run
from tests.e2e.node.unit import Unit, parse
from tests.e2e.process import wait_until

_UNITS = ("/etc/systemd/system", "/lib/systemd/system")
"""Where units are; what comes first wins."""
_UNLIMITED = 2**60

T = TypeVar("T")


class JobError(Exception):
    """A unit could not be started; the message names it, the cause, and the end of its log."""


class Systemd:
    """The service manager of a host.

    Args:
        host: where services run.
        logs: the directory of one log file for each unit.
        limits_memory: whether each service gets a memory cgroup, which needs root.
    """

    def __init__(self, host: Host, logs: Path, *, limits_memory: bool = True) -> None:
        self._host = host
        self._logs = logs
        self._limits_memory = limits_memory
        self._resources = contextlib.ExitStack()
        self._cgroups: dict[str, Cgroup] = {}
        self._units: dict[str, Unit] = {}
        self._runs: dict[str, Run] = {}
        self._timers: dict[str, threading.Timer] = {}
        self._jobs = ThreadPoolExecutor(1)

    def start(self, *names: str) -> None:
        """Start units, what they need and what they want.

        Raises:
            JobError: one of the named, or what it needs, did not start.
        """
        self._do(lambda: self._start(names))

    def stop(self, *names: str) -> None:
        """Stop units, and first those that need them."""
        self._do(lambda: self._stop(names))

    def restart(self, *names: str) -> None:
        """Stop units with those that need them, and start them all again.

        Raises:
            JobError: one did not start.
        """
        self._do(lambda: self._restart(names))

    def reload(self) -> None:
        """Read all units anew; what does not run, and is no unit any more, is forgotten."""
        self._do(self._read_anew)

    def enable(self, name: str) -> None:
        """Have a unit started with those that its [Install] section names."""
        for target in parse(name, self._texts(name)).wanted_by:
            link = self._link(target, name)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(f"/etc/systemd/system/{name}")

    def disable(self, name: str) -> None:
        """Have a unit started no more."""
        for directory in self._host.path(_UNITS[0]).glob("*.wants"):
            (directory / name).unlink(missing_ok=True)

    def boot(self) -> None:
        """Start all that is enabled, each as well as it can."""
        directory = self._host.path(_UNITS[0]) / "multi-user.target.wants"
        names = sorted(path.name for path in directory.glob("*.service"))
        self._do(lambda: self._start(names, needed=False))

    def state(self, name: str) -> str:
        """Return active, activating, failed or inactive."""
        run = self._runs.get(name)
        if run is not None and run.is_active:
            return "active"
        if name in self._timers:
            return "activating"
        return "failed" if run is not None and run.failure else "inactive"

    def wait_until_active(self, name: str) -> None:
        """Wait until a unit runs."""
        wait_until(lambda: self.state(name) == "active", f"{name}, in {self._log(name)},")

    def pid(self, name: str) -> int:
        """Return the main process of a unit that runs."""
        assert self.state(name) == "active", f"{name} does not run"
        return self._runs[name].pid

    def kill(self, name: str) -> None:
        """Kill the main process of a unit that runs, as the kernel does when memory is short."""
        assert self.state(name) == "active", f"{name} does not run"
        self._runs[name].kill()

    def log(self, name: str) -> str:
        """Return what a unit has written."""
        path = self._log(name)
        return path.read_text(errors="replace") if path.exists() else ""

    def cgroup(self, name: str) -> Cgroup:
        """Return the memory cgroup of a unit that has run."""
        return self._cgroups[name]

    def memory_max(self, name: str) -> int:
        """Return how many bytes a unit that has run may take."""
        limit = self._runs[name].unit.memory_max
        assert limit is not None, f"{name} has no limit"
        return limit

    @contextlib.contextmanager
    def losing(self) -> Iterator[None]:
        """Lose the host inside the block: nothing is ended in order, and nothing comes back."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for run in self._runs.values():
            run.lose()
        yield
        for run in self._runs.values():
            run.join()
        self._do(self._runs.clear)

    def close(self) -> None:
        """Stop everything, and take the cgroups away."""
        try:
            self._do(lambda: self._stop(list(self._runs)))
        finally:
            self._jobs.shutdown()
            self._resources.close()

    def _do(self, job: Callable[[], T]) -> T:
        future: Future[T] = self._jobs.submit(job)
        return future.result()

    def _read_anew(self) -> None:
        self._units.clear()
        for name, run in list(self._runs.items()):
            if not run.is_active and not self._texts(name):
                del self._runs[name]

    def _start(self, names: Iterable[str], *, needed: bool = True) -> None:
        names = set(names)
        for name in self._in_order(self._transaction(names)):
            try:
                self._start_one(name)
            except JobError:
                if needed and self._is_needed(name, names):
                    raise

    def _start_one(self, name: str) -> None:
        if name in self._runs and self._runs[name].is_active:
            return
        self._forget_timer(name)
        unit = self._unit(name)
        for other in unit.needs:
            if self.state(other) != "active":
                raise JobError(f"{name} needs {other}, which is {self.state(other)}")
        cgroup = self._cgroup(unit).directory if self._limits_memory else None
        run = Run(unit, self._host, self._log(name), cgroup, self._has_ended)
        self._runs[name] = run
        run.start()
        if run.failure and not run.was_active:
            raise JobError(f"{name}: {run.failure}\n{self.log(name)[-2000:]}")

    def _stop(self, names: Iterable[str]) -> None:
        names = set(names)
        everything = {name for name in self._runs if name in names or self._follows(name, names)}
        for name in reversed(self._in_order(everything)):
            self._stop_one(name)

    def _stop_one(self, name: str) -> None:
        self._forget_timer(name)
        run = self._runs[name]
        if run.is_active:
            run.stop()
        run.failure = None

    def _restart(self, names: Iterable[str]) -> None:
        names = set(names)
        followers = {name for name, run in self._runs.items() if run.is_active and self._follows(name, names)}
        self._stop(names)
        self._start(names | followers)

    def _has_ended(self, run: Run) -> None:
        """Called by what a service runs in; the rest is a job of its own."""
        with contextlib.suppress(RuntimeError):  # all is being closed
            self._jobs.submit(self._after_end, run)

    def _after_end(self, run: Run) -> None:
        name = run.unit.name
        if self._runs.get(name) is not run:
            return
        self._stop([other for other in self._runs if name in self._unit(other).binds_to])
        if run.restarts:
            timer = threading.Timer(run.unit.restart_seconds, self._on_time, (name,))
            self._timers[name] = timer
            timer.start()

    def _on_time(self, name: str) -> None:
        with contextlib.suppress(RuntimeError):
            self._jobs.submit(self._start_again, name)

    def _start_again(self, name: str) -> None:
        if name in self._timers:
            with contextlib.suppress(JobError):  # it has been written down, and another attempt follows
                self._restart([name])

    def _forget_timer(self, name: str) -> None:
        if timer := self._timers.pop(name, None):
            timer.cancel()

    def _transaction(self, names: Iterable[str]) -> set[str]:
        """Return units with all that they need or want and that exists."""
        everything: set[str] = set()
        pending = list(names)
        while pending:
            name = pending.pop()
            if name in everything:
                continue
            everything.add(name)
            unit = self._unit(name)
            wanted = {path.name for path in self._link(name, "").glob("*.service")} | unit.wants
            pending += unit.needs | {other for other in wanted if self._texts(other)}
        return everything

    def _in_order(self, names: Iterable[str]) -> list[str]:
        names = set(names)
        sorter: TopologicalSorter[str] = TopologicalSorter({name: set() for name in sorted(names)})
        for name in sorted(names):
            unit = self._unit(name)
            sorter.add(name, *sorted(unit.after & names))
            for later in sorted(unit.before & names):
                sorter.add(later, name)
        return list(sorter.static_order())

    def _is_needed(self, name: str, names: set[str]) -> bool:
        return name in names or any(self._needs(other, name) for other in names)

    def _needs(self, name: str, other: str) -> bool:
        needs = self._unit(name).needs
        return other in needs or any(self._needs(between, other) for between in needs)

    def _follows(self, name: str, names: set[str]) -> bool:
        """Tell whether a unit is stopped and restarted with one of others."""
        unit = self._unit(name)
        leaders = unit.needs | unit.part_of
        return bool(leaders & names) or any(
            leader in self._runs and self._follows(leader, names) for leader in leaders
        )

    def _unit(self, name: str) -> Unit:
        if name not in self._units:
            texts = self._texts(name)
            if not texts:
                raise JobError(f"there is no unit {name}")
            self._units[name] = parse(name, texts)
        return self._units[name]

    def _texts(self, name: str) -> list[str]:
        files = [self._host.path(f"{directory}/{name}") for directory in _UNITS]
        drop_ins = sorted(self._host.path(f"{_UNITS[0]}/{name}.d").glob("*.conf"))
        found = [file for file in files if file.exists()][:1]
        return [file.read_text() for file in (*found, *drop_ins)] if found else []

    def _link(self, target: str, name: str) -> Path:
        return self._host.path(f"{_UNITS[0]}/{target}.wants") / name

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _cgroup(self, unit: Unit) -> Cgroup:
        if unit.name not in self._cgroups:
            limit = unit.memory_max or _UNLIMITED
            self._cgroups[unit.name] = self._resources.enter_context(memory_cgroup(limit))
        return self._cgroups[unit.name]
