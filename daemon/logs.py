"""Logs as JSON lines on standard error, with the keys of Go's log/slog, which upstream uses."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import TextIO

_LEVELS = {"WARNING": "WARN", "CRITICAL": "ERROR"}
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; anything else was given as ``extra`` and is a field of the line."""


def configure(level: int, stream: TextIO | None = None) -> None:
    """Send logs of at least a level (as the logging module counts) to a stream; standard error if None."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.captureWarnings(capture=True)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Its records at debug are about every frame of every call.
    for library in ("h2", "hpack", "grpclib"):
        logging.getLogger(library).setLevel(max(level, logging.INFO))


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
