"""From the objects of a shoot to the context of its mutation.

The objects are read one after the other and only as far as needed: a disabled extension costs one
read, and an Extension that is on its way out is not held up by a Cluster that is gone already.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import api
from webhook.context.landscape import EXTENSION, SECRET, Landscape, LandscapeError
from webhook.mutation.files import CERTIFICATE_KEYS
from webhook.mutation.model import Bootstrap, NodeContext, Ports, Program

# The URL becomes a word of ExecStart: nothing in it may mean something to systemd (quotes, backslash,
# %, $, white space). Credentials have no place in it, since the OperatingSystemConfig is not secret.
_URL = re.compile(
    r"https?://([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
    r"(:(?P<port>[0-9]{1,5}))?(/[A-Za-z0-9._~/=&:,+-]*)?(\?[A-Za-z0-9._~/=&:,+-]*)?"
)
_URL_LENGTH = 2048


class ContextError(Exception):
    """An object was read but says nothing sensible; the message names the object and the field."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """The context of a shoot whose nodes take part."""

    context: NodeContext
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Skip:
    """The shoot's OperatingSystemConfigs are to be left as they are."""

    warning: str | None = None


def resolve(landscape: Landscape, namespace: str, program: Program) -> Resolved | Skip:
    """Find out how the nodes of the shoot with this namespace are to be set up.

    Raises:
        LandscapeError: an object that is needed cannot be read.
        ContextError: an object has a shape that no API server should have let through, or a bad
            URL, or the providerConfig of the Extension is invalid.
    """
    extension = landscape.extension(namespace)
    if extension is None:
        return Skip(f"no Extension {EXTENSION} in {namespace}: OperatingSystemConfig left unmodified")
    extension_name = f"Extension {namespace}/{EXTENSION}"
    if reason := _leaving(extension, extension_name):
        return Skip(f"{extension_name} is {reason}: OperatingSystemConfig left unmodified")

    cluster = landscape.cluster(namespace)
    if cluster is None:
        raise LandscapeError(f"Cluster {namespace}: not found")
    cluster_name = f"Cluster {namespace}"
    shoot = _member(_member(cluster, "spec", f"{cluster_name}: "), "shoot", f"{cluster_name}: spec.")
    shoot_name = f"{cluster_name}: spec.shoot"
    if not shoot:
        raise ContextError(f"{shoot_name}: must be the Shoot, but is missing")
    if _member(shoot, "metadata", f"{shoot_name}.").get("deletionTimestamp"):
        return Skip()

    spec = _member(extension, "spec", f"{extension_name}: ")
    try:
        config = api.load(
            spec.get("providerConfig"),
            path="spec.providerConfig",
            networking_type=_networking_type(shoot, shoot_name),
        )
    except api.InvalidObject as error:
        raise ContextError(f"{extension_name}: {error}") from error
    bootstrap, warning = _bootstrap(landscape.secret(namespace), namespace)
    context = NodeContext(
        ports=Ports(config.registry_port, config.router_port, config.metrics_port),
        resolve_tags=config.resolve_tags,
        program=program,
        bootstrap=bootstrap,
    )
    return Resolved(context, (warning,) if warning else ())


def _leaving(extension: Mapping[str, Any], name: str) -> str | None:
    metadata = _member(extension, "metadata", f"{name}: ")
    if metadata.get("deletionTimestamp"):
        return "being deleted"
    annotations = _member(metadata, "annotations", f"{name}: metadata.")
    status = _member(extension, "status", f"{name}: ")
    last_operation = _member(status, "lastOperation", f"{name}: status.")
    if annotations.get("gardener.cloud/operation") == "migrate" or last_operation.get("type") == "Migrate":
        return "being migrated"
    return None


def _networking_type(shoot: Mapping[str, Any], name: str) -> str | None:
    spec = _member(shoot, "spec", f"{name}.")
    networking = _member(spec, "networking", f"{name}.spec.")
    kind = networking.get("type")
    if kind is not None and not isinstance(kind, str):
        raise ContextError(f"{name}.spec.networking.type: must be a string")
    return kind


def _bootstrap(secret: Mapping[str, Any] | None, namespace: str) -> tuple[Bootstrap, str | None]:
    name = f"Secret {namespace}/{SECRET}"
    if secret is None:
        return Bootstrap(None, None), f"{name} not found: no bootstrap flags, no certificate files"
    data = _member(secret, "data", f"{name}: ")
    for key in ("url", *CERTIFICATE_KEYS):
        if not isinstance(data.get(key, ""), str):
            raise ContextError(f"{name}: data[{key}]: must be a string")
    missing = [key for key in CERTIFICATE_KEYS if not data.get(key)]
    url = _url(data["url"], name) if data.get("url") else None
    lacking = [*missing, *([] if url else ["url"])]
    left_out = [*(["certificate files"] if missing else []), *([] if url else ["bootstrap flags"])]
    warning = f"{name} lacks {', '.join(lacking)}: no {', no '.join(left_out)}" if lacking else None
    return Bootstrap(url, None if missing else SECRET), warning


def _url(encoded: str, name: str) -> str:
    try:
        url = base64.b64decode(encoded, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise ContextError(f"{name}: data[url]: must be an http or https URL in base64") from None
    if problem := url_problem(url):
        raise ContextError(f"{name}: data[url]: {problem}")
    return url


def url_problem(url: str) -> str | None:
    """Say what keeps a URL from standing in a unit as the bootstrapper's, if anything does."""
    match = _URL.fullmatch(url)
    if len(url) > _URL_LENGTH or match is None or int(match["port"] or 443) not in range(1, 65536):
        return (
            "must be a plain http or https URL, such as https://host/bootstrap-nodes, without credentials, "
            "fragment, white space, quotes, backslash, % or $"
        )
    return None


def _member(parent: Mapping[str, Any], key: str, path: str) -> Mapping[str, Any]:
    """Return a member that is an object; one that is absent or null is empty."""
    value = parent.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ContextError(f"{path}{key}: must be an object, not {type(value).__name__}")
    return value
