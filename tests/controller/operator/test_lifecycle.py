"""Every operation of an Extension, against an API server."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest
import yaml
from cryptography import x509

from controller.operator.client import Object
from controller.operator.resources import CLUSTER, EXTENSION, MANAGED_RESOURCE, SECRET
from tests.controller.controllers import working
from tests.controller.seed import NAME, Seed, is_accepted

FINALIZER = "extensions.gardener.cloud/registry-spegel"
MANAGED_RESOURCES = {
    "registry-spegel-shoot",
    "registry-spegel-bootstrapper",
    "registry-spegel-monitoring",
}
SECRETS = {
    "registry-spegel-ca",
    "registry-spegel-bootstrapper-tls",
    "registry-spegel-bootstrap",
    "shoot-access-registry-spegel-bootstrapper",
    *(f"managedresource-{name}" for name in MANAGED_RESOURCES),
}
HELD = {"metadata": {"finalizers": ["resources.gardener.cloud/gardener-resource-manager"]}}
FREE = {"metadata": {"finalizers": None}}


async def reconciled(seed: Seed, **spec: Any) -> Object:
    """An Extension as it is after its first reconciliation."""
    await seed.create_extension(spec=spec)
    async with working(seed):
        return await seed.until_done("Create")


async def managed_object(seed: Seed, resource: str, kind: str) -> Object:
    secret = await seed.client.get(SECRET, f"managedresource-{resource}", seed.namespace)
    (text,) = secret["data"].values()
    (found,) = [thing for thing in yaml.safe_load_all(b64decode(text)) if thing["kind"] == kind]
    return dict(found)


async def test_creation(seed: Seed) -> None:
    extension = await reconciled(seed)
    assert is_accepted(extension)
    assert extension["metadata"]["finalizers"] == [FINALIZER]
    assert await seed.names(SECRET) == SECRETS
    assert await seed.names(MANAGED_RESOURCE) == MANAGED_RESOURCES


async def test_nothing_of_kopf_or_of_anybody_else_is_left_in_the_extension(seed: Seed) -> None:
    extension = await reconciled(seed)
    assert extension["metadata"]["annotations"].keys() == {"gardener.cloud/timestamp"}
    assert extension["status"].keys() == {"lastOperation", "observedGeneration"}


async def test_what_is_made_goes_with_the_extension_but_for_the_authority(seed: Seed) -> None:
    uid = (await reconciled(seed))["metadata"]["uid"]
    for resource in (SECRET, MANAGED_RESOURCE):
        for name in await seed.names(resource) - {"registry-spegel-ca"}:
            (owner,) = (await seed.client.get(resource, name, seed.namespace))["metadata"]["ownerReferences"]
            assert (owner["kind"], owner["uid"]) == ("Extension", uid)
    authority = await seed.client.get(SECRET, "registry-spegel-ca", seed.namespace)
    assert "ownerReferences" not in authority["metadata"]
    assert authority["metadata"]["labels"]["persist"] == "true"


async def test_a_reconciliation_changes_nothing_when_nothing_has_changed(seed: Seed) -> None:
    await reconciled(seed)
    versions = {}
    for resource in (SECRET, MANAGED_RESOURCE):
        for thing in await seed.client.list(resource, seed.namespace):
            versions[thing["metadata"]["name"]] = thing["metadata"]["resourceVersion"]
    await seed.ask("reconcile")
    async with working(seed):
        assert is_accepted(await seed.until_done("Reconcile"))
    for resource in (SECRET, MANAGED_RESOURCE):
        for thing in await seed.client.list(resource, seed.namespace):
            assert thing["metadata"]["resourceVersion"] == versions.pop(thing["metadata"]["name"])
    assert versions == {}


async def test_an_annotation_without_time_is_enough(seed: Seed) -> None:
    await reconciled(seed)
    patch = {"metadata": {"annotations": {"gardener.cloud/operation": "reconcile"}}}
    async with working(seed):
        for _ in range(2):
            await seed.change_extension(patch)
            await seed.until_done("Reconcile")
            patch = {"metadata": {"annotations": {"gardener.cloud/operation": "reconcile"}}}


async def test_deletion(seed: Seed) -> None:
    await reconciled(seed)
    await seed.delete_extension()
    async with working(seed):
        await seed.until(EXTENSION, NAME, lambda extension: extension is None)
    assert await seed.names(SECRET) == await seed.names(MANAGED_RESOURCE) == set()


async def test_deletion_waits_until_the_resource_manager_has_deleted_what_it_made(seed: Seed) -> None:
    await reconciled(seed)
    await seed.client.patch(MANAGED_RESOURCE, "registry-spegel-shoot", seed.namespace, HELD)
    await seed.delete_extension()
    async with working(seed):
        waiting = await seed.until(
            EXTENSION,
            NAME,
            lambda extension: "waiting" in extension["status"]["lastOperation"]["description"],
        )
        assert waiting is not None
        assert waiting["status"]["lastOperation"]["type"] == "Delete"
        assert waiting["status"]["lastOperation"]["state"] == "Processing"
        assert "ManagedResource registry-spegel-shoot" in waiting["status"]["lastOperation"]["description"]
        assert await seed.names(SECRET) == SECRETS, "the resource manager needs them until it is done"
        await seed.client.patch(MANAGED_RESOURCE, "registry-spegel-shoot", seed.namespace, FREE)
        await seed.until(EXTENSION, NAME, lambda extension: extension is None)
    assert await seed.names(SECRET) == set()


async def test_deletion_by_force_waits_for_nothing_in_the_shoot(seed: Seed) -> None:
    await reconciled(seed)
    await seed.client.patch(MANAGED_RESOURCE, "registry-spegel-shoot", seed.namespace, HELD)
    force = {"metadata": {"annotations": {"confirmation.gardener.cloud/force-deletion": "true"}}}
    await seed.change_cluster(force)
    await seed.delete_extension()
    async with working(seed):
        await seed.until(EXTENSION, NAME, lambda extension: extension is None)
    assert await seed.names(MANAGED_RESOURCE) == {"registry-spegel-shoot"}
    left = await seed.client.get(MANAGED_RESOURCE, "registry-spegel-shoot", seed.namespace)
    assert left["metadata"]["deletionTimestamp"]
    assert left["spec"]["keepObjects"] is True, "or the resource manager would ask the shoot's API server"


async def test_deletion_by_force_still_waits_for_what_is_on_the_seed(seed: Seed) -> None:
    await reconciled(seed)
    await seed.client.patch(MANAGED_RESOURCE, "registry-spegel-bootstrapper", seed.namespace, HELD)
    force = {"metadata": {"annotations": {"confirmation.gardener.cloud/force-deletion": "true"}}}
    await seed.change_cluster(force)
    await seed.delete_extension()
    async with working(seed):
        await seed.until(
            EXTENSION,
            NAME,
            lambda extension: "bootstrapper" in extension["status"]["lastOperation"]["description"],
        )
        await seed.client.patch(MANAGED_RESOURCE, "registry-spegel-bootstrapper", seed.namespace, FREE)
        await seed.until(EXTENSION, NAME, lambda extension: extension is None)


async def test_an_extension_that_was_never_reconciled_can_be_deleted(seed: Seed) -> None:
    await seed.create_extension(operation=None)
    await seed.change_extension({"metadata": {"finalizers": ["example.com/other"]}})
    await seed.delete_extension()
    async with working(seed):
        await seed.reconcile_neighbour()
    extension = await seed.extension()
    assert "status" not in extension
    assert extension["metadata"]["finalizers"] == ["example.com/other"]
    await seed.change_extension(FREE)


async def test_deletion_when_half_created_with_a_config_that_cannot_be_used(seed: Seed) -> None:
    await seed.create_extension(spec={"providerConfig": {"kind": "Nonsense"}})
    await seed.create(SECRET, await _secret_of_ours(seed, "registry-spegel-ca"))
    async with working(seed):
        await seed.until_done("Create", "Error")
        await seed.delete_extension()
        await seed.until(EXTENSION, NAME, lambda extension: extension is None)
    assert await seed.names(SECRET) == set()


async def test_deletion_does_without_the_cluster(seed: Seed) -> None:
    await reconciled(seed)
    cluster = await seed.client.get(CLUSTER, seed.namespace)
    await seed.client.delete(CLUSTER, cluster)
    await seed.delete_extension()
    async with working(seed):
        await seed.until(EXTENSION, NAME, lambda extension: extension is None)
    await seed.create(CLUSTER, {"metadata": {"name": seed.namespace}, "spec": cluster["spec"]})


async def test_other_finalizers_stay_when_the_extension_is_deleted(seed: Seed) -> None:
    await reconciled(seed)
    await seed.change_extension({"metadata": {"finalizers": ["example.com/other", FINALIZER]}})
    await seed.delete_extension()
    async with working(seed):
        found = await seed.until(
            EXTENSION, NAME, lambda extension: FINALIZER not in extension["metadata"]["finalizers"]
        )
    assert found is not None
    assert found["metadata"]["finalizers"] == ["example.com/other"]
    last = found["status"]["lastOperation"]
    assert (last["type"], last["state"]) == ("Delete", "Succeeded")
    await seed.change_extension(FREE)


async def test_migration_keeps_what_is_in_the_shoot_and_the_authority(seed: Seed) -> None:
    await reconciled(seed)
    authority = await seed.client.get(SECRET, "registry-spegel-ca", seed.namespace)
    await seed.client.patch(MANAGED_RESOURCE, "registry-spegel-shoot", seed.namespace, HELD)
    await seed.ask("migrate")
    async with working(seed):
        going = await seed.until(
            MANAGED_RESOURCE, "registry-spegel-shoot", lambda thing: "deletionTimestamp" in thing["metadata"]
        )
        assert going is not None
        assert going["spec"]["keepObjects"] is True
        assert "gardener.cloud/operation" in (await seed.extension())["metadata"]["annotations"]
        await seed.client.patch(MANAGED_RESOURCE, "registry-spegel-shoot", seed.namespace, FREE)
        extension = await seed.until_done("Migrate")
    assert is_accepted(extension)
    assert not extension["metadata"].get("finalizers")
    assert await seed.names(MANAGED_RESOURCE) == set()
    assert await seed.names(SECRET) == {"registry-spegel-ca"}
    kept = await seed.client.get(SECRET, "registry-spegel-ca", seed.namespace)
    assert kept["data"] == authority["data"]


async def test_after_a_migration_nothing_is_built_here_any_more(seed: Seed) -> None:
    await reconciled(seed)
    await seed.ask("migrate")
    async with working(seed):
        await seed.until_done("Migrate")
        await seed.ask("reconcile")
        await seed.until(
            EXTENSION, NAME, lambda found: "gardener.cloud/operation" not in found["metadata"]["annotations"]
        )
        await seed.reconcile_neighbour()
    assert (await seed.extension())["status"]["lastOperation"]["type"] == "Migrate"
    assert await seed.names(MANAGED_RESOURCE) == set()


async def test_restoration_waits_for_the_state_and_goes_on_with_the_old_authority(seed: Seed) -> None:
    await reconciled(seed)
    authority = await seed.client.get(SECRET, "registry-spegel-ca", seed.namespace)
    await seed.ask("migrate")
    async with working(seed):
        await seed.until_done("Migrate")
    # The Extension goes, and comes again on the other seed, where gardenlet has restored the Secret.
    await seed.delete_extension()
    await seed.client.delete(SECRET, authority)
    await seed.create_extension("wait-for-state")
    async with working(seed):
        await seed.reconcile_neighbour()
        assert "status" not in await seed.extension()
        saved = {key: authority["metadata"][key] for key in ("name", "namespace", "labels")}
        await seed.create(SECRET, {"metadata": saved, "type": authority["type"], "data": authority["data"]})
        await seed.ask("restore")
        extension = await seed.until_done("Restore")
    assert is_accepted(extension)
    assert extension["metadata"]["finalizers"] == [FINALIZER]
    assert await seed.names(MANAGED_RESOURCE) == MANAGED_RESOURCES
    restored = await seed.client.get(SECRET, "registry-spegel-ca", seed.namespace)
    assert restored["data"] == authority["data"]
    client = await seed.client.get(SECRET, "registry-spegel-bootstrap", seed.namespace)
    trusted = x509.load_pem_x509_certificate(b64decode(authority["data"]["ca.crt"]))
    shown = x509.load_pem_x509_certificate(b64decode(client["data"]["tls.crt"]))
    shown.verify_directly_issued_by(trusted)


async def test_hibernation_stops_the_bootstrapper_and_keeps_the_certificates(seed: Seed) -> None:
    await seed.change_cluster({"spec": {"hibernation": {"enabled": True}}})
    await reconciled(seed)
    assert await seed.names(SECRET) == SECRETS
    deployment = await managed_object(seed, "registry-spegel-bootstrapper", "Deployment")
    assert deployment["spec"]["replicas"] == 0
    await seed.change_cluster({"spec": {"hibernation": {"enabled": False}}})
    await seed.ask("reconcile")
    async with working(seed):
        await seed.until_done("Reconcile")
    deployment = await managed_object(seed, "registry-spegel-bootstrapper", "Deployment")
    assert deployment["spec"]["replicas"] == 1


async def test_what_is_not_wanted_any_more_goes(seed: Seed) -> None:
    await reconciled(seed)
    await seed.change_cluster({"spec": {"purpose": "testing"}})
    await seed.ask("reconcile")
    async with working(seed):
        await seed.until_done("Reconcile")
    assert await seed.names(MANAGED_RESOURCE) == MANAGED_RESOURCES - {"registry-spegel-monitoring"}
    assert await seed.names(SECRET) == SECRETS - {"managedresource-registry-spegel-monitoring"}


async def test_what_others_have_made_stays_whatever_its_name(seed: Seed) -> None:
    name = "managedresource-registry-spegel-monitoring"
    await seed.create(
        SECRET, {"metadata": {"name": name, "namespace": seed.namespace}, "data": {"a": "Yg=="}}
    )
    cache = {"name": "registry-cache", "namespace": seed.namespace}
    await seed.create(MANAGED_RESOURCE, {"metadata": cache, "spec": {"secretRefs": []}})
    await seed.change_cluster({"spec": {"purpose": "testing"}})
    await reconciled(seed)
    await seed.delete_extension()
    async with working(seed):
        await seed.until(EXTENSION, NAME, lambda extension: extension is None)
    assert (await seed.client.get(SECRET, name, seed.namespace))["data"] == {"a": "Yg=="}
    assert await seed.client.get(MANAGED_RESOURCE, "registry-cache", seed.namespace)


async def test_the_token_that_the_resource_manager_writes_stays(seed: Seed) -> None:
    await reconciled(seed)
    name = "shoot-access-registry-spegel-bootstrapper"
    await seed.write_as("gardener-resource-manager", SECRET, name, {"data": {"token": "Yg=="}})
    await seed.ask("reconcile")
    async with working(seed):
        await seed.until_done("Reconcile")
    assert (await seed.client.get(SECRET, name, seed.namespace))["data"] == {"token": "Yg=="}


async def test_the_defaults_hold_without_a_config(seed: Seed) -> None:
    assert is_accepted(await reconciled(seed))


@pytest.mark.parametrize("networking", ["calico", "cilium"])
async def test_an_extension_that_nobody_has_configured_never_fails(seed: Seed, networking: str) -> None:
    await seed.change_cluster({"spec": {"networking": {"type": networking}}})
    assert is_accepted(await reconciled(seed))


async def test_a_config_that_cannot_be_used_is_the_users_to_mend(seed: Seed) -> None:
    head = {"apiVersion": "spegel.extensions.gardener.cloud/v1alpha1", "kind": "SpegelConfig"}
    await seed.create_extension(spec={"providerConfig": head | {"registryPort": 70000}})
    async with working(seed):
        extension = await seed.until_done("Create", "Error")
        error = extension["status"]["lastError"]
        assert error["codes"] == ["ERR_CONFIGURATION_PROBLEM"]
        assert "spec.providerConfig.registryPort: Invalid value: 70000" in error["description"]
        assert extension["status"]["observedGeneration"] == extension["metadata"]["generation"]
        assert await seed.names(SECRET) == set()
        await seed.change_extension({"spec": {"providerConfig": {"registryPort": 5005}}})
        await seed.ask("reconcile")
        assert is_accepted(await seed.until_done("Create"))


async def test_a_cluster_that_is_not_there_yet_is_an_error_that_passes(seed: Seed) -> None:
    cluster = await seed.client.get(CLUSTER, seed.namespace)
    await seed.client.delete(CLUSTER, cluster)
    await seed.create_extension()
    async with working(seed):
        extension = await seed.until_done("Create", "Error")
        assert f"Cluster {seed.namespace}" in extension["status"]["lastError"]["description"]
        assert not extension["status"]["lastError"].get("codes")
        await seed.create(CLUSTER, {"metadata": {"name": seed.namespace}, "spec": cluster["spec"]})
        assert is_accepted(await seed.until_done("Create"))


async def test_a_mistake_of_ours_is_said_and_not_work_under_way(
    seed: Seed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.operator.build.desired", lambda *_: 1 / 0)
    await seed.create_extension()
    async with working(seed):
        extension = await seed.until_done("Create", "Error")
    assert "internal error: ZeroDivisionError" in extension["status"]["lastError"]["description"]


async def test_a_shoot_that_has_failed_is_left_alone(seed: Seed) -> None:
    failed = {"lastOperation": {"state": "Failed"}, "observedGeneration": 3}
    await seed.change_cluster({"metadata": {"generation": 3}, "status": failed})
    await seed.create_extension()
    async with working(seed):
        await seed.until(
            EXTENSION, NAME, lambda found: "gardener.cloud/operation" not in found["metadata"]["annotations"]
        )
        await seed.reconcile_neighbour()
        extension = await seed.extension()
        assert "status" not in extension
        assert "finalizers" not in extension["metadata"]
        await seed.change_cluster({"status": {"lastOperation": {"state": "Processing"}}})
        await seed.ask("reconcile")
        assert is_accepted(await seed.until_done("Create"))


@pytest.mark.parametrize("spec", [{"class": "seed"}, {"class": "garden"}, {"type": "registry-cache"}])
async def test_extensions_of_other_classes_and_types_are_left_alone(seed: Seed, spec: Object) -> None:
    await seed.create_extension(spec=spec)
    async with working(seed):
        await seed.reconcile_neighbour()
    extension = await seed.extension()
    assert extension["metadata"]["annotations"]["gardener.cloud/operation"] == "reconcile"
    assert "status" not in extension


async def test_a_changed_spec_starts_nothing_before_gardenlet_says_so(seed: Seed) -> None:
    before = await reconciled(seed)
    async with working(seed):
        await seed.change_extension({"metadata": {"labels": {"some": "label"}}})
        config = {"apiVersion": "spegel.extensions.gardener.cloud/v1alpha1", "kind": "SpegelConfig"}
        await seed.change_extension({"spec": {"providerConfig": config}})
        await seed.reconcile_neighbour()
        assert (await seed.extension())["status"] == before["status"]


async def test_an_operation_that_is_asked_for_during_another_is_done_after_it(seed: Seed) -> None:
    await reconciled(seed)
    await seed.client.patch(MANAGED_RESOURCE, "registry-spegel-monitoring", seed.namespace, HELD)
    await seed.change_cluster({"spec": {"purpose": "testing"}})
    await seed.ask("reconcile")
    async with working(seed):
        await seed.until(
            EXTENSION, NAME, lambda found: "waiting" in found["status"]["lastOperation"]["description"]
        )
        await seed.delete_extension()
        await seed.until(EXTENSION, NAME, lambda found: found["status"]["lastOperation"]["type"] == "Delete")
        await seed.client.patch(MANAGED_RESOURCE, "registry-spegel-monitoring", seed.namespace, FREE)
        await seed.until(EXTENSION, NAME, lambda found: found is None)
    assert await seed.names(SECRET) == set()


async def _secret_of_ours(seed: Seed, name: str) -> Object:
    labels = {
        "app.kubernetes.io/name": NAME,
        "app.kubernetes.io/managed-by": f"gardener-extension-{NAME}",
    }
    return {"metadata": {"name": name, "namespace": seed.namespace, "labels": labels}}
