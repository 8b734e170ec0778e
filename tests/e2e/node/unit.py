"""What a systemd unit says, as far as it means something to the tests.

A setting that this module does not know is an error, so that no unit of ours is taken for tested with a
setting that had no effect. Written after systemd.unit(5), .service(5), .exec(5) and .resource-control(5).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_WITHOUT_MEANING_HERE = {
    *("Description", "Documentation", "Delegate", "MemoryAccounting", "OOMScoreAdjust", "TasksMax"),
    *("LimitCORE", "LimitMEMLOCK", "LimitNOFILE", "LimitNPROC"),
}
_SPAN = re.compile(r"\s*([0-9.]+)\s*([a-z]*)")
_SECONDS = {
    "us": 1e-6,
    "ms": 1e-3,
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
}
_SIZE = re.compile(r"([0-9]+)([KMGT]?)")
_BYTES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_VARIABLE = re.compile(r"\$(\$|\{(\w+)\})")


class UnitError(Exception):
    """A unit cannot be read; the message says which and why."""


@dataclass(frozen=True)
class Command:
    """A command line before its variables are filled in."""

    words: tuple[str, ...]
    may_fail: bool

    def expand(self, environment: Mapping[str, str]) -> list[str]:
        """Return its words: ``$A`` alone becomes the words of A, ``${A}`` and ``$$`` stand for text."""
        return [word for raw in self.words for word in _expand(raw, environment)]


@dataclass(frozen=True)
class Unit:
    """A service. Times are in seconds, None is for ever; sizes are in bytes, None is unlimited."""

    name: str
    after: frozenset[str]
    before: frozenset[str]
    requires: frozenset[str]
    wants: frozenset[str]
    binds_to: frozenset[str]
    part_of: frozenset[str]
    wanted_by: frozenset[str]
    type: str
    start_before: tuple[Command, ...]
    start: tuple[Command, ...]
    stop: tuple[Command, ...]
    stop_after: tuple[Command, ...]
    environment: Mapping[str, str]
    environment_files: tuple[str, ...]
    """A file that may be missing begins with ``-``."""
    restart: str
    restart_seconds: float
    start_seconds: float | None
    stop_seconds: float | None
    watchdog_seconds: float | None
    notify_access: str
    remain_after_exit: bool
    kill_mode: str
    memory_high: int | None
    memory_max: int | None
    state_directories: tuple[str, ...]
    runtime_directories: tuple[str, ...]

    @property
    def needs(self) -> frozenset[str]:
        """The units without which it cannot run."""
        return self.requires | self.binds_to


def parse(name: str, texts: Sequence[str]) -> Unit:
    """Read a unit: the text of its file, and those of its drop-ins in their order.

    Raises:
        UnitError: it cannot be read, or has a setting that is not known here.
    """
    settings = _Settings(name, texts)
    kind = settings.text("Type", "simple")
    watchdog = settings.seconds("WatchdogSec", None) or None
    access = "main" if kind == "notify" or watchdog else "none"
    unit = Unit(
        name,
        after=settings.names("After"),
        before=settings.names("Before"),
        requires=settings.names("Requires"),
        wants=settings.names("Wants"),
        binds_to=settings.names("BindsTo"),
        part_of=settings.names("PartOf"),
        wanted_by=settings.names("WantedBy"),
        type=kind,
        start_before=settings.commands("ExecStartPre"),
        start=settings.commands("ExecStart"),
        stop=settings.commands("ExecStop"),
        stop_after=settings.commands("ExecStopPost"),
        environment=dict(word.partition("=")[::2] for word in settings.words("Environment")),
        environment_files=tuple(settings.words("EnvironmentFile")),
        restart=settings.text("Restart", "no"),
        restart_seconds=settings.seconds("RestartSec", 0.1) or 0.0,
        start_seconds=settings.seconds("TimeoutStartSec", None if kind == "oneshot" else 90.0),
        stop_seconds=settings.seconds("TimeoutStopSec", 90.0),
        watchdog_seconds=watchdog,
        notify_access=settings.text("NotifyAccess", access),
        remain_after_exit=settings.text("RemainAfterExit", "no") in {"yes", "true", "1", "on"},
        kill_mode=settings.text("KillMode", "control-group"),
        memory_high=settings.bytes("MemoryHigh"),
        memory_max=settings.bytes("MemoryMax"),
        state_directories=tuple(settings.words("StateDirectory")),
        runtime_directories=tuple(settings.words("RuntimeDirectory")),
    )
    settings.finish()
    if unit.type not in {"simple", "exec", "notify", "oneshot"}:
        raise UnitError(f"{name}: Type={unit.type} is not known here")
    if unit.type != "oneshot" and len(unit.start) != 1:
        raise UnitError(f"{name}: a service of Type={unit.type} has one ExecStart, not {len(unit.start)}")
    return unit


class _Settings:
    """The settings of a unit by their names; all that was never asked for is unknown."""

    def __init__(self, unit: str, texts: Sequence[str]) -> None:
        self._unit = unit
        self._values: dict[str, list[str]] = {}
        self._known = set(_WITHOUT_MEANING_HERE)
        for text in texts:
            for name, value in self._assignments(text):
                values = self._values.setdefault(name, [])
                if value:
                    values.append(value)
                else:
                    values.clear()

    def _assignments(self, text: str) -> Iterator[tuple[str, str]]:
        section = None
        for line in _lines(text):
            if line.startswith("[") and line.endswith("]"):
                section = line[1:-1]
                continue
            name, equals, value = line.partition("=")
            if not equals or section not in {"Unit", "Service", "Install"}:
                raise UnitError(f"{self._unit}: what is {line!r}?")
            yield name.strip(), self._without_specifiers(value.strip())

    def _without_specifiers(self, value: str) -> str:
        if found := re.search(r"%[^%]", value.replace("%%", "")):
            raise UnitError(f"{self._unit}: the specifier {found[0]} is not known here")
        return value.replace("%%", "%")

    def finish(self) -> None:
        if unknown := self._values.keys() - self._known:
            raise UnitError(f"{self._unit}: not known here: {', '.join(sorted(unknown))}")

    def all(self, name: str) -> list[str]:
        self._known.add(name)
        return self._values.get(name, [])

    def text(self, name: str, default: str) -> str:
        return (self.all(name) or [default])[-1]

    def words(self, name: str) -> list[str]:
        return [word for value in self.all(name) for word in shlex.split(value)]

    def names(self, name: str) -> frozenset[str]:
        return frozenset(self.words(name))

    def commands(self, name: str) -> tuple[Command, ...]:
        return tuple(map(self._command, self.all(name)))

    def _command(self, value: str) -> Command:
        path = value.lstrip("-@:+!|")
        prefixes = value[: len(value) - len(path)]
        if set(prefixes) - {"-"}:
            raise UnitError(f"{self._unit}: the prefix {prefixes} of a command is not known here")
        words = tuple(shlex.split(path))
        if not words or not words[0].startswith("/"):
            raise UnitError(f"{self._unit}: not the path of a program: {path}")
        return Command(words, "-" in prefixes)

    def seconds(self, name: str, default: float | None) -> float | None:
        values = self.all(name)
        if not values:
            return default
        if values[-1] == "infinity":
            return None
        spans = _SPAN.findall(values[-1])
        if not spans or _SPAN.sub("", values[-1]).strip() or any(unit not in _SECONDS for _, unit in spans):
            raise UnitError(f"{self._unit}: {name}={values[-1]} is not a time")
        return sum(float(number) * _SECONDS[unit] for number, unit in spans)

    def bytes(self, name: str) -> int | None:
        values = self.all(name)
        if not values or values[-1] == "infinity":
            return None
        found = _SIZE.fullmatch(values[-1])
        if not found:
            raise UnitError(f"{self._unit}: {name}={values[-1]} is not a size")
        return int(found[1]) * _BYTES[found[2]]


def _lines(text: str) -> Iterator[str]:
    """Return the lines that say something, put together where one ends in a backslash."""
    beginning = ""
    for line in text.splitlines():
        if line.lstrip().startswith(("#", ";")):
            continue
        if line.endswith("\\"):
            beginning += line[:-1] + " "
            continue
        if whole := (beginning + line).strip():
            yield whole
        beginning = ""


def _expand(raw: str, environment: Mapping[str, str]) -> list[str]:
    if re.fullmatch(r"\$\w+", raw):
        return environment.get(raw[1:], "").split()
    return [_VARIABLE.sub(lambda found: environment.get(found[2], "") if found[2] else "$", raw)]
