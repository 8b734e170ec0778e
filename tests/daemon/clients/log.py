"""What daemons that run in this process say of the requests that they answered."""

from __future__ import annotations

import pytest


def requests(caplog: pytest.LogCaptureFixture, source: str) -> list[tuple[str, str, int]]:
    """Return method, path and status of the answers from a source, in their order in the debug log."""
    return [
        (record.method, record.path, record.status)  # type: ignore[attr-defined]
        for record in caplog.records
        if record.message == "request answered" and record.source == source  # type: ignore[attr-defined]
    ]
