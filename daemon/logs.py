"""Logs as JSON lines on standard error, with the keys of Go's log/slog, which upstream uses."""

from __future__ import annotations

import contextlib
import json
import logging
import select
import sys
import time
from typing import TextIO

_LEVELS = {"WARNING": "WARN", "CRITICAL": "ERROR"}
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; anything else was given as ``extra`` and is a field of the line."""


def configure(level: int, stream: TextIO | None = None) -> None:
    """Send logs of at least a level (as the logging module counts) to a stream; standard error if None."""
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.captureWarnings(capture=True)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Its records at debug are about every frame of every call.
    for library in ("h2", "hpack", "grpclib"):
        logging.getLogger(library).setLevel(max(level, logging.INFO))


class _Handler(logging.StreamHandler[TextIO]):
    """Leaves lines out while nobody reads the log: waiting for that would stop the whole program.

    What a pipe takes without waiting is a line of up to 4096 bytes; only tracebacks may be longer.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lost = 0
        self._room: select.poll | None = None
        with contextlib.suppress(OSError, AttributeError):  # no file: in tests, or standard error is closed
            descriptor = stream.fileno()
            self._room = select.poll()
            self._room.register(descriptor, select.POLLOUT)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, and before it how many were left out."""
        if self._room is not None and not self._room.poll(0):
            self._lost += 1
            return
        if self._lost:
            lost, self._lost = self._lost, 0
            message = f"{lost} lines are missing here: nobody read the log"
            super().emit(
                logging.LogRecord(__name__, logging.WARNING, __file__, 0, message, args=None, exc_info=None)
            )
        super().emit(record)


class JsonFormatter(logging.Formatter):
    """One line of JSON per record: time, level, msg, logger, and whatever ``extra`` holds."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "time": _time(record.created),
            "level": _LEVELS.get(record.levelname, record.levelname),
            "msg": record.getMessage(),
            "logger": record.name,
        }
        line = {key: value for key, value in vars(record).items() if key not in _STANDARD} | line
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, separators=(",", ":"))


def _time(seconds: float) -> str:
    """Return a time in UTC, RFC 3339 with microseconds."""
    whole, fraction = divmod(round(seconds * 1e6), 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{fraction:06d}Z"
