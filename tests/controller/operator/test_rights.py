"""The rights that the chart grants are those that the program needs, and no others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.operator import heartbeat, webhook
from controller.operator.resources import (
    EXTENSION,
    LEASE,
    MANAGED_RESOURCE,
    SECRET,
    WEBHOOK_CONFIGURATION,
    Resource,
)
from tests.apiserver import Request
from tests.controller.operator.processes import controller
from tests.controller.seed import NAME, REAL, Seed
from tests.integration.charts import KEPT, NAMESPACES, SEED, Object, render

CHART_NAMESPACE = NAMESPACES[SEED]
OWN = f"{SEED}-controller"

RBAC = "rbac.authorization.k8s.io/v1"
SERVICE_ACCOUNT = Resource("v1", "ServiceAccount", "serviceaccounts")
ACCESS = (
    SERVICE_ACCOUNT,
    Resource(RBAC, "ClusterRole", "clusterroles"),
    Resource(RBAC, "ClusterRoleBinding", "clusterrolebindings"),
    Resource(RBAC, "Role", "roles"),
    Resource(RBAC, "RoleBinding", "rolebindings"),
)

Line = dict[str, Any]

Right = tuple[str, str, str | None, str, str | None]
"""API group, resource with subresource, name (None for any), verb, namespace (None for all)."""


def chart(kind: str) -> Object:
    (found,) = [
        each for each in render(SEED, KEPT) if (each["kind"], each["metadata"]["name"]) == (kind, OWN)
    ]
    return found


def _name(seed: Seed) -> str:
    """Of what is not in a namespace, so that it is this test's own."""
    return f"{SEED}-{seed.own_namespace.rpartition('-')[2]}"


def in_namespace_of(seed: Seed, thing: Object) -> Object:
    """An object of the chart as it is when that is installed for this test alone."""
    text = json.dumps(thing).replace(CHART_NAMESPACE, seed.own_namespace)
    text = text.replace(f'"{OWN}"', f'"{_name(seed)}-controller"')
    if thing["kind"] == "ClusterRole":
        text = text.replace(f'"{SEED}"', f'"{_name(seed)}"')
    made: Object = json.loads(text)
    return made


def registration(seed: Seed) -> Object:
    made: Object = yaml.safe_load(
        chart("ConfigMap")["data"]["registration.yaml"].replace(CHART_NAMESPACE, seed.own_namespace)
    )
    made["metadata"]["name"] = _name(seed)
    # Nothing of a real cluster may be held up by a test.
    made["webhooks"][0]["rules"][0]["apiGroups"] = ["nothing.example.com"]
    return made


def granted(seed: Seed) -> set[Right]:
    rights: set[Right] = set()
    for kind, where in (("ClusterRole", None), ("Role", seed.own_namespace)):
        for rule in in_namespace_of(seed, chart(kind))["rules"]:
            names = rule.get("resourceNames", [None])
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


async def all_it_does(seed: Seed, directory: Path, token: str | None = None) -> list[Line]:
    """Let a controller do all that it ever does, but for what comes after weeks; return what it logs."""
    file = directory / "registration.yaml"
    file.write_text(yaml.safe_dump(registration(seed)))
    # A Secret of a wrong type cannot be changed, only replaced.
    await seed.create(
        SECRET,
        {"metadata": {"name": webhook.CERTIFICATE_SECRET, "namespace": seed.own_namespace}, "type": "Opaque"},
    )
    await seed.create_extension()
    flags = ("--webhook-registration", str(file))
    async with controller(seed, directory, *flags, token=token) as running:
        await seed.until_done("Create")
        await seed.until(LEASE, heartbeat.NAME, bool, seed.own_namespace)
        await seed.until(WEBHOOK_CONFIGURATION, _name(seed), bool, None)
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
    return running.lines


@pytest.mark.skipif(REAL is not None, reason="a real API server does not tell what it was asked")
async def test_every_request_is_allowed_and_every_right_is_used(seed: Seed, tmp_path: Path) -> None:
    server = seed.server
    assert server is not None
    await all_it_does(seed, tmp_path)
    wanted = {
        right for request in server.requests if request.token == "controller" for right in needed(request)
    }
    rights = granted(seed)
    refused = [each for each in wanted if not any(allows(right, each) for right in rights)]
    assert not refused, sorted(map(str, refused))
    assert await seed.names(MANAGED_RESOURCE) == set()
    unused = {(right[1], right[3]) for right in rights if not any(allows(right, each) for each in wanted)} - {
        (right[1], right[3]) for right in rights if any(allows(right, each) for each in wanted)
    }
    assert unused == {("secrets", "update")}, (
        "the webhook's authority and certificate are replaced in a month"
    )


@pytest.mark.skipif(REAL is None, reason="only a real API server decides by roles: KUBECONFIG_TEST")
async def test_a_real_api_server_refuses_nothing(seed: Seed, tmp_path: Path) -> None:
    made = []
    try:
        for resource in ACCESS:
            thing = in_namespace_of(seed, chart(resource.kind))
            made.append((resource, await seed.client.create(resource, thing)))
        account = f"{SERVICE_ACCOUNT.path(seed.own_namespace)}/{_name(seed)}-controller"
        asked = await seed.client._request("POST", f"{account}/token", None, {"spec": {}})
        lines = await all_it_does(seed, tmp_path, asked["status"]["token"])
    finally:
        for resource, thing in made:
            await seed.client.delete(resource, thing)
        registered = await seed.client.find(WEBHOOK_CONFIGURATION, _name(seed))
        if registered is not None:
            await seed.client.delete(WEBHOOK_CONFIGURATION, registered)
    assert not [line for line in lines if "forbidden" in line["message"]]
