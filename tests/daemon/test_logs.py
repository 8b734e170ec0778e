from __future__ import annotations

import io
import json
import logging
import os
import re
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import logs
from daemon.logs import JsonFormatter


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_has_slogs_keys_and_the_fields_given(stream: io.StringIO) -> None:
    logs.configure(logging.INFO, stream)
    logging.getLogger("daemon.part").warning("%d things", 3, extra={"registry": "docker.io", "status": 404})
    (line,) = lines(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line.pop("time"))
    assert line == {
        "level": "WARN",
        "msg": "3 things",
        "logger": "daemon.part",
        "registry": "docker.io",
        "status": 404,
    }


@pytest.mark.parametrize(
    ("level", "seen"),
    [
        (logging.DEBUG, ["DEBUG", "INFO", "WARN", "ERROR"]),
        (logging.INFO, ["INFO", "WARN", "ERROR"]),
        (logging.ERROR, ["ERROR"]),
    ],
)
def test_levels(stream: io.StringIO, level: int, seen: list[str]) -> None:
    logs.configure(level, stream)
    for method in ("debug", "info", "warning", "error"):
        getattr(logging.getLogger("daemon"), method)("text")
    assert [line["level"] for line in lines(stream)] == seen


def test_a_traceback_stays_in_its_line(stream: io.StringIO) -> None:
    logs.configure(logging.INFO, stream)
    try:
        int("two\nlines")
    except ValueError:
        logging.getLogger("daemon").exception("failed")
    (line,) = lines(stream)
    assert line["error"].endswith(r"""literal for int() with base 10: 'two\nlines'""")


def test_warnings_are_lines_too(stream: io.StringIO) -> None:
    logs.configure(logging.INFO, stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert lines(stream)[0]["logger"] == "py.warnings"


def test_a_log_that_nobody_reads_holds_nothing_up(stream: io.StringIO) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as reader, os.fdopen(writing, "w") as writer:
        logs.configure(logging.INFO, writer)
        logger = logging.getLogger("daemon")
        for number in range(2000):  # some 200 KiB; a pipe takes 64
            logger.info("line %d", number)
        found = [json.loads(line)["msg"] for line in reader.read(1 << 20).splitlines()]
        logger.info("the end")
        missing, end = [json.loads(line)["msg"] for line in reader.read(1 << 20).splitlines()]
    assert found == [f"line {number}" for number in range(len(found))]
    assert missing == f"{2000 - len(found)} lines are missing here: nobody read the log"
    assert end == "the end"


@given(st.floats(0, 4e9), st.text(), st.dictionaries(st.text(min_size=1), st.text() | st.binary()))
def test_whatever_is_logged_is_one_line_of_json(created: float, text: str, fields: dict[str, Any]) -> None:
    record = logging.makeLogRecord({**fields, "created": created, "msg": text, "args": ()})
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert json.loads(line)["msg"] == text
