"""What gardenlet waits for in an Extension's status."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controller.lifecycle import status
from controller.lifecycle.operation import Operation

NOW = datetime(2026, 3, 1, 10, 0, 0, 999_999, UTC)


def extension(asked: str | None = None) -> dict[str, Any]:
    annotations = {} if asked is None else {"gardener.cloud/timestamp": asked}
    return {"metadata": {"generation": 4, "annotations": annotations}}


def test_under_way_says_nothing_of_the_error_before() -> None:
    assert status.processing(extension(), Operation.CREATE, "Doing", NOW) == {
        "status": {
            "lastOperation": {
                "type": "Create",
                "state": "Processing",
                "progress": 1,
                "description": "Doing",
                "lastUpdateTime": "2026-03-01T10:00:00Z",
            }
        }
    }


def test_an_error_is_for_the_generation_it_was_seen_with() -> None:
    found = status.failed(extension(), Operation.DELETE, "Broken", "ERR_CONFIGURATION_PROBLEM", NOW)["status"]
    assert found["observedGeneration"] == 4
    assert found["lastOperation"]["state"] == "Error"
    assert found["lastOperation"]["progress"] == 50
    assert found["lastError"] == {
        "description": "Broken",
        "codes": ["ERR_CONFIGURATION_PROBLEM"],
        "lastUpdateTime": "2026-03-01T10:00:00Z",
    }


def test_an_error_without_code_takes_away_the_code_of_the_error_before() -> None:
    found = status.failed(extension(), Operation.CREATE, "Broken", None, NOW)
    assert found["status"]["lastError"]["codes"] is None


def test_success_takes_the_error_away() -> None:
    found = status.succeeded(extension(), Operation.RESTORE, "Done", NOW)["status"]
    assert found["observedGeneration"] == 4
    assert found["lastError"] is None
    assert (found["lastOperation"]["state"], found["lastOperation"]["progress"]) == ("Succeeded", 100)


def test_an_error_is_counted_until_there_is_success_also_while_an_attempt_runs() -> None:
    found: dict[str, Any] = {}
    assert status.shown_state(found) == "none"
    for code, state in ((None, "Error"), ("ERR_CONFIGURATION_PROBLEM", "Misconfigured")):
        found = status.failed(extension(), Operation.CREATE, "Broken", code, NOW)
        assert status.shown_state(found) == state
        found["status"] |= status.processing(extension(), Operation.CREATE, "Doing", NOW)["status"]
        assert status.shown_state(found) == state
    found["status"] |= status.succeeded(extension(), Operation.CREATE, "Done", NOW)["status"]
    assert status.shown_state(found) == "Succeeded"


@pytest.mark.parametrize("ahead", [-5, 0, 0.4, 1, 7])
def test_the_time_is_never_before_that_of_the_request_whichever_clock_is_ahead(ahead: float) -> None:
    asked = NOW + timedelta(seconds=ahead)
    text = asked.strftime("%Y-%m-%dT%H:%M:%S.%f") + "789Z"
    done = status.succeeded(extension(text), Operation.RECONCILE, "Done", NOW)["status"]["lastOperation"]
    # As gardenlet compares them.
    assert datetime.fromisoformat(done["lastUpdateTime"]) >= asked.replace(microsecond=0)
    assert datetime.fromisoformat(done["lastUpdateTime"]) >= NOW.replace(microsecond=0)
