"""The conditions of an Extension."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from controller.lifecycle.health import conditions, is_checked

NOW = datetime(2026, 3, 1, 10, tzinfo=UTC)
THEN = "2026-02-01T00:00:00Z"
GOOD = {"ResourcesApplied": "True", "ResourcesHealthy": "True", "ResourcesProgressing": "False"}


def managed_resource(
    name: str = "one", *, seed: bool = True, care: str | None = None, observed: int = 1, **states: str
) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "generation": 1,
            "labels": {"care.gardener.cloud/condition-type": care} if care else {},
        },
        "spec": {"class": "seed"} if seed else {},
        "status": {
            "observedGeneration": observed,
            "conditions": [
                {"type": kind, "status": state, "message": f"about {kind}"}
                for kind, state in (GOOD | states).items()
            ],
        },
    }


def check(
    *resources: dict[str, Any], before: Any = (), hibernated: bool = False
) -> dict[str, dict[str, Any]]:
    found = conditions({"status": {"conditions": list(before)}}, resources, hibernated=hibernated, now=NOW)
    return {condition["type"]: condition for condition in found}


def test_each_managed_resource_counts_for_one_condition() -> None:
    found = check(
        managed_resource(ResourcesHealthy="False"),
        managed_resource(seed=False),
        managed_resource(care="ObservabilityComponentsHealthy"),
    )
    assert {kind: condition["status"] for kind, condition in found.items()} == {
        "ControlPlaneHealthy": "False",
        "SystemComponentsHealthy": "True",
        "ObservabilityComponentsHealthy": "True",
    }


@pytest.mark.parametrize(
    ("resource", "status", "reason", "message"),
    [
        (managed_resource(), "True", "HealthCheckSuccessful", "All health checks successful"),
        (
            managed_resource(ResourcesApplied="False"),
            "False",
            "HealthCheckUnsuccessful",
            "ManagedResource one: ResourcesApplied is False: about ResourcesApplied",
        ),
        (
            managed_resource(ResourcesHealthy="Unknown"),
            "Progressing",
            "HealthCheckProgressing",
            "ManagedResource one: ResourcesHealthy is Unknown: about ResourcesHealthy",
        ),
        (
            managed_resource(ResourcesProgressing="True"),
            "Progressing",
            "HealthCheckProgressing",
            "ManagedResource one: about ResourcesProgressing",
        ),
        (
            managed_resource(observed=0, ResourcesHealthy="False"),
            "Progressing",
            "HealthCheckProgressing",
            "ManagedResource one: not yet seen by the resource manager",
        ),
    ],
)
def test_what_is_said_of_a_managed_resource(
    resource: dict[str, Any], status: str, reason: str, message: str
) -> None:
    (found,) = check(resource).values()
    assert found == {
        "type": "ControlPlaneHealthy",
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-03-01T10:00:00Z",
        "lastUpdateTime": "2026-03-01T10:00:00Z",
    }


def test_a_managed_resource_without_status_is_on_its_way() -> None:
    new = {"metadata": {"name": "new", "generation": 1}, "spec": {}}
    assert check(new)["SystemComponentsHealthy"]["status"] == "Progressing"


def test_the_worst_is_said() -> None:
    found = check(
        managed_resource("a", ResourcesHealthy="Progressing"), managed_resource("b", ResourcesApplied="False")
    )
    assert found["ControlPlaneHealthy"]["status"] == "False"
    assert found["ControlPlaneHealthy"]["message"].startswith("ManagedResource b:")


def test_nothing_is_wrong_with_a_shoot_that_sleeps() -> None:
    found = check(managed_resource(seed=False, ResourcesApplied="False"), hibernated=True)
    assert found["SystemComponentsHealthy"]["status"] == "True"
    assert found["SystemComponentsHealthy"]["message"] == "Shoot is hibernated"


def _before(**changes: str) -> dict[str, str]:
    (made,) = check(managed_resource()).values()
    return {**made, "lastTransitionTime": THEN, "lastUpdateTime": THEN, **changes}


@pytest.mark.parametrize(
    ("before", "transition", "update"),
    [
        (_before(), THEN, THEN),
        (_before(message="Shoot is hibernated"), THEN, "2026-03-01T10:00:00Z"),
        (_before(status="False"), "2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z"),
    ],
)
def test_times_change_with_what_they_are_the_times_of(
    before: dict[str, str], transition: str, update: str
) -> None:
    (found,) = check(managed_resource(), before=[before]).values()
    assert (found["lastTransitionTime"], found["lastUpdateTime"]) == (transition, update)


def test_conditions_of_others_stay_and_our_own_go_with_what_they_were_about() -> None:
    others = {"type": "EveryNodeReady", "status": "True", "extra": 1}
    found = check(before=[others, _before(type="ObservabilityComponentsHealthy")])
    assert found == {"EveryNodeReady": others}


@pytest.mark.parametrize(
    ("metadata", "last", "checked"),
    [
        ({}, {"type": "Reconcile", "state": "Succeeded"}, True),
        ({}, {"type": "Reconcile", "state": "Error"}, True),
        ({}, None, False),
        ({"deletionTimestamp": THEN}, {"type": "Reconcile"}, False),
        ({"annotations": {"gardener.cloud/operation": "migrate"}}, {"type": "Reconcile"}, False),
        ({}, {"type": "Migrate", "state": "Succeeded"}, False),
    ],
)
def test_an_extension_that_goes_is_not_checked(metadata: Any, last: Any, checked: bool) -> None:
    assert is_checked({"metadata": metadata, "status": {"lastOperation": last}}) is checked
