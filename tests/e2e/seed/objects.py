"""The objects of an API server, for those who play a part of Gardener's."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Mapping
from typing import Any

from tests.apiserver import ApiServer, Object, RefusedError, Resource
from tests.apiserver.resources import STANDARD
from tests.apiserver.selectors import selector

OPERATING_SYSTEM_CONFIG = Resource(
    "extensions.gardener.cloud",
    "v1alpha1",
    "OperatingSystemConfig",
    "operatingsystemconfigs",
    has_status=True,
)
_MANAGER = "gardener"


class Objects:
    """One API server's objects by kind, namespace (None where there is none) and name."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self._resources = {resource.kind: resource for resource in (*STANDARD, OPERATING_SYSTEM_CONFIG)}

    def all(self, kind: str, namespace: str | None = None) -> list[Object]:
        page = self.server.store.page(self._resources[kind], namespace, selector("", ""), 0)
        return list(page.items)

    def find(self, kind: str, namespace: str | None, name: str) -> Object | None:
        with contextlib.suppress(RefusedError):
            return self.get(kind, namespace, name)
        return None

    def get(self, kind: str, namespace: str | None, name: str) -> Object:
        """Return an object.

        Raises:
            RefusedError: there is none.
        """
        return self.server.store.get(self._resources[kind], namespace, name)

    def apply(self, thing: Object) -> None:
        """Create or change an object, by server-side apply."""
        metadata = thing["metadata"]
        self.server.store.apply(
            self._resources[thing["kind"]],
            metadata.get("namespace"),
            metadata["name"],
            thing,
            manager=_MANAGER,
            force=True,
        )

    def change(self, thing: Object, changes: Mapping[str, Any], *, status: bool = False) -> None:
        """Replace top-level fields of an object; nothing happens when there is none any more."""
        metadata = thing["metadata"]
        with contextlib.suppress(RefusedError):
            self.server.store.change(
                self._resources[thing["kind"]],
                metadata.get("namespace"),
                metadata["name"],
                lambda present: {**present, **changes},
                status=status,
            )

    def delete(self, kind: str, namespace: str | None, name: str) -> None:
        with contextlib.suppress(RefusedError):
            self.server.store.delete(self._resources[kind], namespace, name)


def secret_data(secret: Object) -> dict[str, bytes]:
    """Return what a Secret holds."""
    return {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}
