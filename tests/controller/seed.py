"""A seed for tests: an API server with a shoot's namespace, and what gardenlet does there.

The API server is the in-memory one, or the one that KUBECONFIG_TEST leads to, which must have Gardener's
custom resources, or let them be created in a simple form.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import aiohttp
import kopf
import yaml

from controller.operator.client import Client, ConflictError, Object
from controller.operator.login import log_in
from controller.operator.resources import (
    CLUSTER,
    EXTENSION,
    LEASE,
    MANAGED_RESOURCE,
    NAMESPACE,
    SECRET,
    Resource,
)
from tests.apiserver import ApiServer

REAL = os.environ.get("KUBECONFIG_TEST")
SAMPLES = Path(__file__).parents[1] / "samples"
NAME = "registry-spegel"
CUSTOM_RESOURCE = Resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions")


class Seed:
    """One shoot's namespace, and the namespace of the extension."""

    def __init__(self, client: Client, server: ApiServer | None) -> None:
        suffix = uuid.uuid4().hex[:8]
        self.client = client
        self.server = server
        self.namespace = f"shoot--crazy--b{suffix}"
        self.neighbour = f"shoot--crazy--c{suffix}"
        self.own_namespace = f"extension-registry-spegel-{suffix}"

    # What gardenlet does

    async def prepare(self) -> None:
        cluster = yaml.safe_load((SAMPLES / "cluster.yaml").read_text())
        for name in (self.namespace, self.neighbour):
            cluster["metadata"]["name"] = name
            cluster["spec"]["shoot"]["status"]["technicalID"] = name
            await self.create(CLUSTER, cluster)
        for name in self.namespaces:
            await self.create(NAMESPACE, {"metadata": {"name": name}})

    @property
    def namespaces(self) -> tuple[str, ...]:
        return self.namespace, self.neighbour, self.own_namespace

    async def create(self, resource: Resource, thing: Object) -> Object:
        head = {"apiVersion": resource.api_version, "kind": resource.kind}
        return await self.client.create(resource, head | thing)

    async def create_extension(
        self, operation: str | None = "reconcile", *, spec: Object | None = None, namespace: str | None = None
    ) -> Object:
        metadata: Object = {"name": NAME, "namespace": namespace or self.namespace, "annotations": {}}
        if operation:
            metadata["annotations"] = self._asking(operation)
        return await self.create(EXTENSION, {"metadata": metadata, "spec": {"type": NAME, **(spec or {})}})

    async def ask(self, operation: str) -> Object:
        patch = {"metadata": {"annotations": self._asking(operation)}}
        return await self.client.patch(EXTENSION, NAME, self.namespace, patch)

    async def change_extension(self, patch: Object, *, subresource: str = "") -> Object:
        return await self.client.patch(EXTENSION, NAME, self.namespace, patch, subresource=subresource)

    async def change_cluster(self, shoot: Object) -> None:
        await self.client.patch(CLUSTER, self.namespace, None, {"spec": {"shoot": shoot}})

    async def delete_extension(self) -> None:
        await self.client.delete(EXTENSION, await self.extension())

    @staticmethod
    def _asking(operation: str) -> Object:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "789Z"
        return {"gardener.cloud/operation": operation, "gardener.cloud/timestamp": now}

    async def write_as(self, manager: str, resource: Resource, name: str, patch: Object) -> None:
        """Change an object as somebody else, who then owns what has been said."""
        path, kind = resource.path(self.namespace, name), "application/merge-patch+json"
        await self.client._request("PATCH", path, {"fieldManager": manager}, patch, kind)

    # What can be seen

    async def extension(self) -> Object:
        return await self.client.get(EXTENSION, NAME, self.namespace)

    async def names(self, resource: Resource) -> set[str]:
        """The names of our own objects of a kind."""
        found = await self.client.list(
            resource, self.namespace, labels={"app.kubernetes.io/managed-by": f"gardener-extension-{NAME}"}
        )
        return {thing["metadata"]["name"] for thing in found}

    async def snapshot(self) -> Object:
        """All objects of the shoot's namespace without what differs from run to run."""
        found: Object = {}
        for resource in (EXTENSION, SECRET, MANAGED_RESOURCE):
            for thing in await self.client.list(resource, self.namespace):
                found[f"{resource.kind}/{thing['metadata']['name']}"] = self._timeless(thing)
        return found

    def _timeless(self, thing: Object) -> Object:
        text = json.dumps(thing).replace(self.namespace, "NAMESPACE")
        thing = json.loads(text)
        metadata = thing["metadata"]
        for key in ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"):
            metadata.pop(key, None)
        for owner in metadata.get("ownerReferences", ()):
            owner.pop("uid")
        (metadata.get("annotations") or {}).pop("gardener.cloud/timestamp", None)
        metadata.pop("annotations", None) if not metadata.get("annotations") else None
        status = thing.get("status") or {}
        (status.get("lastOperation") or {}).pop("lastUpdateTime", None)
        status.pop("observedGeneration", None)
        if "data" in thing:
            # Certificates are never the same twice; that they fit together is told elsewhere.
            thing["data"] = sorted(thing["data"])
        return thing

    async def until(
        self,
        resource: Resource,
        name: str,
        wanted: Callable[[Object | None], bool],
        namespace: str | None = "",
        seconds: float = 30,
    ) -> Object | None:
        """Watch an object until it is as wanted, and return it so; None is for cluster-scoped objects."""
        namespace = self.namespace if namespace == "" else namespace
        async with asyncio.timeout(seconds):
            while True:
                thing = await self.client.find(resource, name, namespace)
                if wanted(thing):
                    return thing
                await self._change(resource, name, namespace, thing)

    async def _change(
        self, resource: Resource, name: str, namespace: str | None, seen: Object | None
    ) -> None:
        """Wait until an object may be different from what was seen of it; a watch may break at any time."""
        session, server = await self.client._enter()
        query = {"watch": "true", "fieldSelector": f"metadata.name={name}", "timeoutSeconds": "60"}
        if seen is not None:
            query["resourceVersion"] = seen["metadata"]["resourceVersion"]
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with session.get(server + resource.path(namespace), params=query) as response:
                async for line in response.content:
                    if line.strip():
                        return
        await asyncio.sleep(0.05)

    async def reconcile_neighbour(self) -> None:
        """Let another shoot's Extension be reconciled; what was asked before has been looked at by then."""
        await self.create_extension(namespace=self.neighbour)
        await self.until(
            EXTENSION,
            NAME,
            lambda found: (
                ((found or {}).get("status") or {}).get("lastOperation", {}).get("state") == "Succeeded"
            ),
            self.neighbour,
        )

    async def until_done(self, operation: str, state: str = "Succeeded") -> Object:
        """Wait as gardenlet does: for this operation, with nothing left to be done."""

        def is_done(extension: Object | None) -> bool:
            last = ((extension or {}).get("status") or {}).get("lastOperation") or {}
            asked = ((extension or {})["metadata"].get("annotations") or {}) if extension else {}
            return (last.get("type"), last.get("state")) == (
                operation,
                state,
            ) and "gardener.cloud/operation" not in asked

        found = await self.until(EXTENSION, NAME, is_done)
        assert found is not None
        return found


def is_accepted(extension: Object) -> bool:
    """What gardenlet asks of an Extension before it goes on."""
    metadata, status = extension["metadata"], extension.get("status") or {}
    annotations = metadata.get("annotations") or {}
    last = status.get("lastOperation") or {}
    asked = datetime.fromisoformat(annotations["gardener.cloud/timestamp"]).replace(microsecond=0)
    return (
        status.get("lastError") is None
        and status.get("observedGeneration") == metadata["generation"]
        and "gardener.cloud/operation" not in annotations
        and last.get("state") == "Succeeded"
        and asked <= datetime.fromisoformat(last["lastUpdateTime"])
    )


@contextlib.asynccontextmanager
async def open_seed(directory: Path) -> AsyncIterator[Seed]:
    """A seed of a test's own; its kubeconfig is in KUBECONFIG meanwhile."""
    with contextlib.ExitStack() as stack:
        server = None
        if REAL is None:
            server = stack.enter_context(ApiServer())
            kubeconfig = server.write_kubeconfig(directory / "kubeconfig")
        else:
            kubeconfig = Path(REAL)
        before = os.environ.get("KUBECONFIG")
        os.environ["KUBECONFIG"] = str(kubeconfig)
        client = Client(partial(log_in, kopf.OperatorSettings()))
        try:
            if server is None:
                await _create_custom_resources(client)
            seed = Seed(client, server)
            await seed.prepare()
            yield seed
            if server is None:
                await _remove(seed)
        finally:
            await client.close()
            if before is None:
                del os.environ["KUBECONFIG"]
            else:
                os.environ["KUBECONFIG"] = before


async def _create_custom_resources(client: Client) -> None:
    for resource, scope in (
        (EXTENSION, "Namespaced"),
        (CLUSTER, "Cluster"),
        (MANAGED_RESOURCE, "Namespaced"),
    ):
        group, version = resource.api_version.split("/")
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        definition = {
            "apiVersion": CUSTOM_RESOURCE.api_version,
            "kind": CUSTOM_RESOURCE.kind,
            "metadata": {"name": f"{resource.plural}.{group}"},
            "spec": {
                "group": group,
                "scope": scope,
                "names": {
                    "kind": resource.kind,
                    "plural": resource.plural,
                    "singular": resource.kind.lower(),
                    "listKind": f"{resource.kind}List",
                },
                "versions": [
                    {
                        "name": version,
                        "served": True,
                        "storage": True,
                        "schema": {"openAPIV3Schema": schema},
                        "subresources": {"status": {}} if resource is not CLUSTER else {},
                    }
                ],
            },
        }
        with contextlib.suppress(ConflictError):
            await client.create(CUSTOM_RESOURCE, definition)
        async with asyncio.timeout(30):
            while True:
                found = await client.get(CUSTOM_RESOURCE, definition["metadata"]["name"])
                conditions = (found.get("status") or {}).get("conditions") or ()
                if any((each["type"], each["status"]) == ("Established", "True") for each in conditions):
                    break
                await asyncio.sleep(0.1)


async def _remove(seed: Seed) -> None:
    for resource, namespace in itertools.product(
        (EXTENSION, MANAGED_RESOURCE, SECRET, LEASE), seed.namespaces
    ):
        for thing in await seed.client.list(resource, namespace):
            if thing["metadata"].get("finalizers"):
                patch = {"metadata": {"finalizers": None}}
                await seed.client.patch(resource, thing["metadata"]["name"], namespace, patch)
            await seed.client.delete(resource, thing)
    for resource, name in itertools.product((CLUSTER, NAMESPACE), seed.namespaces):
        if (thing := await seed.client.find(resource, name)) is not None:
            await seed.client.delete(resource, thing)
