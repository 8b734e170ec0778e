"""Logs for machines: one JSON object a line, on standard error."""

from __future__ import annotations

import logging
import logging.config


def configure(level: str) -> None:
    """Let every logger of this process write JSON lines from this level on."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "json": {
                    "()": "pythonjsonlogger.json.JsonFormatter",
                    # Not the logger's name: an admission's line has the object's name.
                    "fmt": ["levelname", "message"],
                    "rename_fields": {"levelname": "level"},
                    "timestamp": "time",
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
            "root": {"handlers": ["stderr"], "level": level.upper()},
        }
    )
    # Both would say at each failed read what our own line says.
    for name in ("urllib3", "kubernetes"):
        logging.getLogger(name).setLevel(logging.ERROR)
