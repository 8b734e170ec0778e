"""Objects handed to gardener-resource-manager, which applies them, watches over them and removes them again.

Each ManagedResource has one Secret of a fixed name. It is neither immutable nor marked for garbage
collection, so no reference to it has to be kept; the resource manager notices when it changes.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import yaml

from controller.objects import names

Object = dict[str, Any]

KEY = "objects.yaml"


class Target(Enum):
    """Where the objects go; the value is the ManagedResource's class."""

    SEED = "seed"
    SHOOT = None


@dataclass(frozen=True, slots=True)
class ManagedResource:
    """Objects that are applied by way of one ManagedResource."""

    name: str
    namespace: str
    target: Target
    objects: tuple[Object, ...]
    labels: Mapping[str, str] = field(default_factory=dict)

    def secret(self) -> Object:
        """Return the Secret that holds the objects."""
        text = yaml.safe_dump_all(self.objects, sort_keys=True)
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": names.managed_resource_secret(self.name),
                "namespace": self.namespace,
                "labels": dict(names.LABELS),
            },
            "type": "Opaque",
            "data": {KEY: base64.b64encode(text.encode()).decode()},
        }

    def resource(self) -> Object:
        """Return the ManagedResource itself."""
        spec: Object = {
            "secretRefs": [{"name": names.managed_resource_secret(self.name)}],
            # Said, since a migration to another seed that was given up has left it true.
            "keepObjects": False,
        }
        if self.target is Target.SEED:
            spec["class"] = self.target.value
        else:
            # gardenlet deletes what users made in a shoot before this extension is deleted.
            spec["injectLabels"] = {"shoot.gardener.cloud/no-cleanup": "true"}
        return {
            "apiVersion": "resources.gardener.cloud/v1alpha1",
            "kind": "ManagedResource",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                # gardenlet deletes those whose origin is gardener itself.
                "labels": {**names.LABELS, "origin": names.NAME, **self.labels},
            },
            "spec": spec,
        }
