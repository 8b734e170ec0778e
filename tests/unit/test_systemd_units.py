"""The small systemd of the tests of the whole chain reads units as the real one does."""

from __future__ import annotations

import pytest

from tests.e2e.node.unit import Unit, UnitError, parse
from tests.unit.mutation_samples import apply, sample


def service(*settings: str, unit: str = "") -> Unit:
    return parse("a.service", [f"[Unit]\n{unit}\n[Service]\nExecStart=/bin/a\n" + "\n".join(settings)])


def test_the_units_that_the_webhook_adds_are_read_to_the_last_setting() -> None:
    units = {unit["name"]: unit for unit in apply(sample("osc-plain.yaml"))["spec"]["units"]}
    daemon = parse("spegel.service", [units["spegel.service"]["content"]])
    assert daemon.type == "simple"
    assert daemon.needs == {"containerd.service"}
    assert (daemon.restart, daemon.restart_seconds, daemon.watchdog_seconds) == ("always", 5, 30)
    assert (daemon.memory_high, daemon.memory_max) == (80 * 2**20, 100 * 2**20)
    assert daemon.start[0].expand({})[:3] == ["/opt/bin/spegel", "registry", "--registry-addr=:5000"]
    metrics = parse("spegel-metrics.service", [units["spegel-metrics.service"]["content"]])
    assert metrics.binds_to == {"spegel.service"}
    assert metrics.stop_after[0].may_fail


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (r"/bin/x 'a b' \" c\"", ["/bin/x", "a b", '"', 'c"']),
        ("/bin/x $LIST ${LIST} $NONE", ["/bin/x", "1", "2", "1 2"]),
        ("/bin/x $$LIST %%d -p=${LIST}", ["/bin/x", "$LIST", "%d", "-p=1 2"]),
        ("/bin/x \\\n  a \\\n# remark\n  b", ["/bin/x", "a", "b"]),
    ],
)
def test_command_lines(line: str, words: list[str]) -> None:
    unit = service("ExecStart=", f"ExecStart={line}")
    assert unit.start[0].expand({"LIST": "1 2"}) == words


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5), ("100ms", 0.1), ("1min 30s", 90), ("1h30m", 5400), ("infinity", None)],
)
def test_times(text: str, seconds: float | None) -> None:
    assert service(f"TimeoutStopSec={text}").stop_seconds == seconds


def test_a_drop_in_adds_and_takes_back() -> None:
    base = "[Unit]\nAfter=a b\n[Service]\nExecStart=/bin/a\nEnvironment=A=1 B=2\n"
    unit = parse("a.service", [base, "[Service]\nExecStart=\nExecStart=/bin/b\nEnvironment=B=3\n"])
    assert unit.start[0].words == ("/bin/b",)
    assert unit.environment == {"A": "1", "B": "3"}
    assert unit.after == {"a", "b"}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("ProtectHome=yes", "not known here: ProtectHome"),
        ("Type=forking", "Type=forking is not known here"),
        ("ExecStop=kill 1", "not the path of a program: kill 1"),
        ("ExecStop=+/bin/a", "the prefix +"),
        ("ExecStop=/bin/a %h", "the specifier %h"),
        ("RestartSec=soon", "RestartSec=soon is not a time"),
        ("MemoryMax=1%%", "MemoryMax=1% is not a size"),
        ("ExecStart=/bin/b", "one ExecStart, not 2"),
        ("nonsense", "what is 'nonsense'"),
    ],
)
def test_what_it_does_not_know_is_an_error(setting: str, message: str) -> None:
    with pytest.raises(UnitError) as caught:
        service(setting)
    assert message in str(caught.value)
