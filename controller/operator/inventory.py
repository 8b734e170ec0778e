"""What is in a shoot's namespace because of this extension: applied, and taken away again.

Every object has a name of its own that never changes. So nothing has to be searched for, and the rights that
are needed are those on these names alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from controller.objects import names
from controller.operator.client import Client, NotFoundError, Object
from controller.operator.resources import MANAGED_RESOURCE, SECRET, Resource, resource_of

Name = tuple[Resource, str]

MANAGED_RESOURCES: tuple[Name, ...] = tuple((MANAGED_RESOURCE, name) for name in names.MANAGED_RESOURCES)
SECRETS: tuple[Name, ...] = tuple(
    (SECRET, name) for name in (*map(names.managed_resource_secret, names.MANAGED_RESOURCES), *names.SECRETS)
)
ALL = (*MANAGED_RESOURCES, *SECRETS)
"""In the order in which they are taken away: the resource manager needs the Secrets until it is done."""


class Inventory:
    """The objects of one shoot."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    async def certificate_secrets(self) -> list[Object]:
        """Return the Secrets with certificates that exist.

        Raises:
            ApiError: they cannot be read.
        """
        wanted = (names.AUTHORITY_SECRET, names.SERVER_SECRET, names.CLIENT_SECRET)
        found = [await self._client.find(SECRET, name, self._namespace) for name in wanted]
        return [secret for secret in found if secret is not None]

    async def apply(self, objects: Iterable[Object]) -> None:
        """Let objects be as they are given, in their order.

        Raises:
            ApiError: one of them cannot be applied.
        """
        for thing in objects:
            applied = await self._client.apply(resource_of(thing), thing)
            # A key that somebody else has written too, such as gardenlet when it restored the Secret, stays
            # when it is not said any more.
            surplus = (applied.get("data") or {}).keys() - thing["data"].keys() if "data" in thing else ()
            if surplus:
                await self._patch(SECRET, thing, {"data": dict.fromkeys(surplus)})

    async def remove_all_but(self, kept: Collection[Name], *, awaits_shoot: bool = True) -> list[Object]:
        """Take away the rest, ManagedResources first.

        Args:
            kept: what is to stay.
            awaits_shoot: whether what goes only once something in the shoot is gone is waited for.

        Returns:
            What is still there, and has to be waited for, because somebody has a finalizer on it. Secrets are
            left alone until no ManagedResource has to be waited for.

        Raises:
            ApiError: something cannot be read or deleted.
        """
        for group in (MANAGED_RESOURCES, SECRETS):
            going = [thing for name in group if name not in kept if (thing := await self._remove(*name))]
            remaining = [thing for thing in going if awaits_shoot or not _needs_shoot(thing)]
            if remaining:
                return remaining
        return []

    async def keep_in_shoot(self) -> None:
        """Let nothing in the shoot be deleted when the objects on the seed are.

        Raises:
            ApiError: something cannot be read or changed.
        """
        for resource, name in MANAGED_RESOURCES:
            thing = await self._find(resource, name)
            if thing is not None and _needs_shoot(thing) and not thing["spec"].get("keepObjects"):
                await self._patch(resource, thing, {"spec": {"keepObjects": True}})

    async def _patch(self, resource: Resource, thing: Object, patch: Object) -> None:
        await self._client.patch(resource, thing["metadata"]["name"], self._namespace, patch)

    async def _remove(self, resource: Resource, name: str) -> Object | None:
        """Delete an object of ours, and return it if that takes time."""
        thing = await self._find(resource, name)
        if thing is None:
            return None
        if not thing["metadata"].get("deletionTimestamp"):
            await self._client.delete(resource, thing)
        return await self._find(resource, name)

    async def _find(self, resource: Resource, name: str) -> Object | None:
        """Return an object of ours; one of that name that somebody else has made is none."""
        try:
            thing = await self._client.get(resource, name, self._namespace)
        except NotFoundError:
            return None
        labels = thing["metadata"].get("labels") or {}
        return thing if names.LABELS.items() <= labels.items() else None


def _needs_shoot(thing: Object) -> bool:
    """Tell whether the resource manager has to delete something in the shoot before an object can go."""
    return thing["kind"] == MANAGED_RESOURCE.kind and not thing["spec"].get("class")
