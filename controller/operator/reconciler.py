"""One attempt at what an Extension asks for, from the annotation to the status.

Each attempt begins at the beginning, whatever an earlier one has done: all that is written is written so that
writing it again changes nothing. So it does not matter where an attempt ended, or how.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import api
from controller.lifecycle import status
from controller.lifecycle.extension import (
    FINALIZER,
    OPERATION,
    annotation,
    has_finalizer,
    last_operation,
)
from controller.lifecycle.operation import (
    RECONCILE,
    Operation,
    has_failed,
    is_force_deleted,
    is_migrated,
    operation_of,
)
from controller.objects import names
from controller.operator.client import ApiError, Client, NotFoundError, Object
from controller.operator.inventory import Inventory
from controller.operator.resources import CLUSTER, EXTENSION, SECRET, resource_of
from controller.shoot import ShootError

_LOOK_AGAIN_SECONDS = 2.0
_DOING = {
    Operation.CREATE: "Reconciling",
    Operation.RECONCILE: "Reconciling",
    Operation.RESTORE: "Restoring",
    Operation.MIGRATE: "Migrating",
    Operation.DELETE: "Deleting",
}
_log = logging.getLogger(__name__)

Build = Callable[[Object, Object, Sequence[Object], datetime], Sequence[Object]]
"""From an Extension, its Cluster, the Secrets with certificates that exist, and the time, to all objects that
are to be applied, in order."""


class FailedError(Exception):
    """The operation did not succeed, which the status says now; it is worth another attempt."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An operation that has been begun."""

    extension: Object
    operation: Operation
    cluster: Object | None


class Outcome(NamedTuple):
    """What came of an attempt that did not fail."""

    result: str
    """succeeded, waiting, or invalid: only a user can mend it."""
    delay: float | None = None
    """Seconds after which to go on; None when there is nothing left to be done."""


class Reconciler:
    """Does what Extensions ask for."""

    def __init__(self, client: Client, build: Build, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._build = build
        self._clock = clock

    async def begin(self, extension: Object) -> Attempt | None:
        """Say that work is under way, then take away the annotation that asks for a reconciliation.

        In this order, so that a process that ends in between leaves one of the two for the next. What asks
        again after that is new.

        Returns:
            The attempt that is to be carried out, or None when there is nothing to be done.

        Raises:
            ApiError: it could not be begun.
        """
        namespace = extension["metadata"]["namespace"]
        operation = operation_of(extension)
        cluster = await self._client.find(CLUSTER, namespace)
        reason = _reason_to_skip(extension, operation, _shoot(cluster))
        if reason is None:
            extension = await self._say_processing(extension, operation)
        if annotation(extension, OPERATION) == RECONCILE:
            extension = await self._without_annotation(extension, RECONCILE)
        if reason is not None:
            _log.info("%s: skipped, %s", namespace, reason)
            return None
        return Attempt(extension, operation, cluster)

    async def carry_out(self, attempt: Attempt) -> Outcome:
        """Do what is asked for, or as much of it as can be done now.

        Raises:
            FailedError: it failed, and the status says so.
            ApiError: it failed, and the status could not be written.
        """
        extension, operation, cluster = attempt.extension, attempt.operation, attempt.cluster
        _log.info("%s: %s", extension["metadata"]["namespace"], operation)
        if operation not in {Operation.DELETE, Operation.MIGRATE}:
            extension = await self._with_finalizer(extension)
        is_forced = is_force_deleted(_shoot(cluster))
        try:
            remaining = await self._work(extension, cluster, operation, is_forced=is_forced)
        except api.InvalidObject as error:
            await self._say_failed(extension, operation, str(error), code=status.CONFIGURATION_PROBLEM)
            return Outcome("invalid")
        except (ApiError, ShootError) as error:
            await self._say_failed(extension, operation, str(error))
            raise FailedError(f"{operation} failed: {error}") from error
        except Exception as error:
            # A mistake of ours must not look like work under way.
            await self._say_failed(extension, operation, f"internal error: {error!r}")
            raise
        if remaining:
            await self._say_processing(extension, operation, waits_for=remaining)
            return Outcome("waiting", _LOOK_AGAIN_SECONDS)
        await self._finish(extension, operation)
        return Outcome("succeeded")

    async def _work(
        self, extension: Object, cluster: Object | None, operation: Operation, *, is_forced: bool
    ) -> Sequence[Object]:
        """Do the work, and return the objects that have to be gone before it is done."""
        inventory = Inventory(self._client, extension["metadata"]["namespace"])
        match operation:
            case Operation.DELETE:
                if is_forced:
                    await inventory.keep_in_shoot()
                return await inventory.remove_all_but((), awaits_shoot=not is_forced)
            case Operation.MIGRATE:
                await inventory.keep_in_shoot()
                # gardenlet has taken a copy of the authority for the other seed.
                return await inventory.remove_all_but([(SECRET, names.AUTHORITY_SECRET)])
            case _:
                if cluster is None:
                    raise ShootError(f"Cluster {extension['metadata']['namespace']}: does not exist")
                secrets = await inventory.certificate_secrets()
                objects = self._build(extension, cluster, secrets, self._clock())
                await inventory.apply(objects)
                return await inventory.remove_all_but(
                    [(resource_of(thing), thing["metadata"]["name"]) for thing in objects]
                )

    async def _finish(self, extension: Object, operation: Operation) -> None:
        description = f"{_DOING[operation]} the extension has succeeded"
        extension = await self._write_status(
            extension, status.succeeded(extension, operation, description, self._clock())
        )
        match operation:
            case Operation.DELETE:
                others = [name for name in extension["metadata"]["finalizers"] if name != FINALIZER]
                await self._set_finalizers(extension, others)
            case Operation.MIGRATE:
                extension = await self._set_finalizers(extension, [])
                await self._without_annotation_if_there(extension)
            case Operation.RESTORE:
                await self._without_annotation_if_there(extension)

    async def _say_processing(
        self, extension: Object, operation: Operation, waits_for: Sequence[Object] = ()
    ) -> Object:
        said = last_operation(extension) or {}
        going = ", ".join(f"{thing['kind']} {thing['metadata']['name']}" for thing in waits_for)
        description = f"{_DOING[operation]} the extension"
        if going:
            description += f": waiting until the following are gone: {going}"
        # While something is waited for, the same is not said again and again.
        is_said = said.get("description") == description or not going
        if is_said and (said.get("type"), said.get("state")) == (operation, "Processing"):
            return extension
        return await self._write_status(
            extension, status.processing(extension, operation, description, self._clock())
        )

    async def _say_failed(
        self, extension: Object, operation: Operation, reason: str, *, code: str | None = None
    ) -> None:
        description = f"{_DOING[operation]} the extension has failed: {reason}"
        await self._write_status(
            extension, status.failed(extension, operation, description, code, self._clock())
        )

    async def _write_status(self, extension: Object, patch: Object) -> Object:
        metadata = extension["metadata"]
        return await self._client.patch(
            EXTENSION, metadata["name"], metadata["namespace"], patch, subresource="status"
        )

    async def _with_finalizer(self, extension: Object) -> Object:
        if has_finalizer(extension):
            return extension
        return await self._set_finalizers(
            extension, [*(extension["metadata"].get("finalizers") or ()), FINALIZER]
        )

    async def _set_finalizers(self, extension: Object, finalizers: Sequence[str]) -> Object:
        metadata = extension["metadata"]
        # The version, since others change the list too.
        patch = {"metadata": {"finalizers": finalizers, "resourceVersion": metadata["resourceVersion"]}}
        return await self._client.patch(EXTENSION, metadata["name"], metadata["namespace"], patch)

    async def _without_annotation(self, extension: Object, value: str) -> Object:
        metadata = extension["metadata"]
        path = f"/metadata/annotations/{OPERATION.replace('/', '~1')}"
        # An annotation that says something else by now stays.
        patch = [{"op": "test", "path": path, "value": value}, {"op": "remove", "path": path}]
        return await self._client.edit(EXTENSION, metadata["name"], metadata["namespace"], patch)

    async def _without_annotation_if_there(self, extension: Object) -> None:
        value = annotation(extension, OPERATION)
        if value is None:
            return
        with suppress(NotFoundError):  # it was being deleted, and nothing kept it any longer
            await self._without_annotation(extension, value)


def _shoot(cluster: Object | None) -> Object:
    shoot: Object = ((cluster or {}).get("spec") or {}).get("shoot") or {}
    return shoot


def _reason_to_skip(extension: Object, operation: Operation, shoot: Object) -> str | None:
    if has_failed(shoot):
        return "the shoot has failed"
    if is_migrated(extension, operation):
        return "the shoot is on another seed"
    if operation is Operation.DELETE and not has_finalizer(extension):
        return "nothing was made that could be deleted"
    return None
