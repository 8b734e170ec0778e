"""The rights that the chart grants are those that the program needs, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from controller.operator import heartbeat, webhook
from controller.operator.resources import EXTENSION, LEASE, MANAGED_RESOURCE, SECRET, WEBHOOK_CONFIGURATION
from tests.apiserver import Request
from tests.controller.operator.processes import controller
from tests.controller.seed import NAME, REAL, Seed
from tests.integration.charts import KEPT, NAMESPACES, SEED, Object, render

CHART_NAMESPACE = NAMESPACES[SEED]
OWN = f"{SEED}-controller"

Right = tuple[str, str, str | None, str, str | None]
"""API group, resource with subresource, name (None for any), verb, namespace (None for all)."""


def chart(kind: str) -> Object:
    (found,) = [
        each for each in render(SEED, KEPT) if (each["kind"], each["metadata"]["name"]) == (kind, OWN)
    ]
    return found


def granted(namespace: str) -> set[Right]:
    rights: set[Right] = set()
    for kind, where in (("ClusterRole", None), ("Role", namespace)):
        for rule in chart(kind)["rules"]:
            names = [
                namespace if name == CHART_NAMESPACE else name for name in rule.get("resourceNames", [None])
            ]
            rights |= set(product(rule["apiGroups"], rule["resources"], names, rule["verbs"], [where]))
    return rights


def needed(request: Request) -> Iterator[Right]:
    """The rights that an API server asks for; what everyone may see needs none."""
    parts = request.path.strip("/").split("/")
    if request.verb.isupper():
        return  # discovery
    group, rest = (parts[1], parts[3:]) if parts[0] == "apis" else ("", parts[2:])
    namespace = None
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    resource = rest[0] + (f"/{rest[2]}" if len(rest) > 2 else "")
    name = rest[1] if len(rest) > 1 else None
    yield group, resource, name, request.verb, namespace
    if "force" in request.query:
        # What is applied and does not exist is created.
        yield group, resource, name, "create", namespace


def allows(right: Right, wanted: Right) -> bool:
    group, resource, name, verb, namespace = right
    return (
        (group, resource, verb) == (wanted[0], wanted[1], wanted[3])
        and name in {None, wanted[2]}
        and namespace in {None, wanted[4]}
    )


@pytest.mark.skipif(REAL is not None, reason="a real API server does not tell what it was asked")
async def test_every_request_is_allowed_and_every_right_is_used(seed: Seed, tmp_path: Path) -> None:
    server = seed.server
    assert server is not None
    file = tmp_path / "registration.yaml"
    file.write_text(
        chart("ConfigMap")["data"]["registration.yaml"].replace(CHART_NAMESPACE, seed.own_namespace)
    )
    # A Secret of a wrong type cannot be changed, only replaced.
    await seed.create(
        SECRET,
        {"metadata": {"name": webhook.CERTIFICATE_SECRET, "namespace": seed.own_namespace}, "type": "Opaque"},
    )
    await seed.create_extension()
    async with controller(seed, tmp_path, "--webhook-registration", str(file)):
        await seed.until_done("Create")
        await seed.until(LEASE, heartbeat.NAME, bool, seed.own_namespace)
        await seed.until(WEBHOOK_CONFIGURATION, SEED, bool, None)
        await seed.until(
            SECRET,
            webhook.CERTIFICATE_SECRET,
            lambda secret: bool(secret) and "tls.crt" in secret.get("data", {}),
            seed.own_namespace,
        )
        await seed.change_cluster({"spec": {"purpose": "testing"}})
        await seed.ask("reconcile")
        await seed.until_done("Reconcile")
        await seed.ask("migrate")
        await seed.until_done("Migrate")
        await seed.ask("restore")
        await seed.until_done("Restore")
        await seed.delete_extension()
        await seed.until(EXTENSION, NAME, lambda extension: extension is None)
    wanted = {
        right for request in server.requests if request.token == "controller" for right in needed(request)
    }
    rights = granted(seed.own_namespace)
    refused = [each for each in wanted if not any(allows(right, each) for right in rights)]
    assert not refused, sorted(map(str, refused))
    assert await seed.names(MANAGED_RESOURCE) == set()
    unused = {(right[1], right[3]) for right in rights if not any(allows(right, each) for each in wanted)} - {
        (right[1], right[3]) for right in rights if any(allows(right, each) for each in wanted)
    }
    assert unused == {("secrets", "update")}, (
        "the webhook's authority and certificate are replaced in a month"
    )
