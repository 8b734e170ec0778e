"""A shoot of the samples, and variations of it."""

from __future__ import annotations

import copy
import functools
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import documents
from controller.certificates.keeping import renew
from controller.certificates.model import EMPTY, Certificates
from controller.desired import Desired, desired, host
from controller.objects.options import Exposure, Options
from controller.settings import ObjectSettings
from controller.shoot import Shoot, read

Object = dict[str, Any]

SAMPLES = Path(__file__).parents[1] / "samples"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
NAMESPACE = "shoot--crazy--botany"
HOST = "sp-crazy--botany.ingress.gcp-ha.example.com"
UID = "b9c8f8b0-58ee-4a5e-9f1b-6d5c1a8f0c11"

OPTIONS = ObjectSettings().options


@functools.cache
def _sample(name: str) -> Object:
    document: Object = documents.read(str(SAMPLES / name))
    return document


def extension(**changes: Any) -> Object:
    return _changed(_sample("extension.yaml"), {"metadata__uid": UID} | changes)


def cluster(**changes: Any) -> Object:
    """The Cluster with values at paths replaced: ``spec__shoot__spec__purpose="testing"``."""
    return _changed(_sample("cluster.yaml"), changes)


def shoot(**changes: Any) -> Shoot:
    return read(extension(), cluster(**changes))


@functools.cache
def certificates() -> Certificates:
    return renew(EMPTY, organization=NAMESPACE, host=HOST, rotation=shoot().rotation, now=NOW)


def objects(*, exposure: Exposure = Exposure.ISTIO, **changes: Any) -> Desired:
    options = Options(
        bootstrapper_image=OPTIONS.bootstrapper_image,
        exposure=exposure,
        istio_namespace=OPTIONS.istio_namespace,
        istio_labels=OPTIONS.istio_labels,
        host_prefix=OPTIONS.host_prefix,
    )
    assert host(shoot(), options) == HOST
    return desired(shoot(**changes), certificates(), options)


def everything(made: Desired) -> list[Object]:
    return [*made.direct(), *(thing for resource in made.managed_resources for thing in resource.objects)]


def one(made: Desired, kind: str, name: str | None = None) -> Object:
    (found,) = [
        thing
        for thing in everything(made)
        if thing["kind"] == kind and name in (None, thing["metadata"]["name"])
    ]
    return found


def _changed(document: Object, changes: Object) -> Object:
    document = copy.deepcopy(document)
    for path, value in changes.items():
        *parents, last = path.split("__")
        target = document
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = value
    return document
