"""SpegelConfig v1alpha1, as it is written in a Shoot, and what is wrong with a document by itself.

Strict as a typed client of Kubernetes is: no string, float or boolean counts as an integer, no field is
unknown, and an explicit null means the same as an absent field.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import nsmallest
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from api.field import ENOUGH_ERRORS, ErrorType, FieldError, child, shown

API_VERSION = "spegel.extensions.gardener.cloud/v1alpha1"
KIND = "SpegelConfig"

_DETAILS = {
    "int_type": "must be an integer",
    "bool_type": "must be a boolean",
    "greater_than_equal": "must be between 1 and 65535, inclusive",
    "less_than_equal": "must be between 1 and 65535, inclusive",
}

Port = Annotated[int, Field(ge=1, le=65535)]


class SpegelConfig(BaseModel):
    """The providerConfig of the extension registry-spegel: how the daemon on each node of a shoot runs."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, alias_generator=to_camel, use_attribute_docstrings=True
    )

    api_version: Literal["spegel.extensions.gardener.cloud/v1alpha1"]
    kind: Literal["SpegelConfig"]
    registry_port: Port | None = None
    """The TCP port of the OCI registry on each node. The three ports are pairwise different."""
    router_port: Port | None = None
    """The TCP port of the peer-to-peer router on each node."""
    metrics_port: Port | None = None
    """The TCP port of the metrics on each node."""
    resolve_tags: bool | None = None
    """Whether tags are resolved through peers as well, or digests alone are fetched from them."""

    @property
    def ports(self) -> dict[str, int | None]:
        """The TCP ports by their field names; None where unset."""
        return {
            "registryPort": self.registry_port,
            "routerPort": self.router_port,
            "metricsPort": self.metrics_port,
        }


FIELDS = tuple(to_camel(name) for name in SpegelConfig.model_fields)
"""The names of all fields, in the order in which their errors are reported."""

UNSET = SpegelConfig.model_validate({"apiVersion": API_VERSION, "kind": KIND})
"""The document that sets nothing; no document at all means the same."""


def decode(raw: object, *, path: str) -> tuple[SpegelConfig, dict[str, FieldError], list[FieldError]]:
    """Read a document as far as it can be read.

    Args:
        raw: the document as JSON or YAML gave it; None when there is none.
        path: where it stands in the object around it, for the errors.

    Returns:
        The document, with the fields that are wrong left unset; the errors of those by field name; all
        other errors: unknown fields, or that ``raw`` is no object at all.
    """
    if raw is None:
        return UNSET, {}, []
    if not isinstance(raw, Mapping):
        error = FieldError(path, ErrorType.INVALID, raw, "must be an object")
        return UNSET, {}, [error]
    known = {name: raw[name] for name in FIELDS if name in raw}
    unknown = [
        FieldError(where, ErrorType.FORBIDDEN, detail="unknown field")
        for where in nsmallest(ENOUGH_ERRORS, (child(path, key) for key in raw if key not in known))
    ]
    try:
        return SpegelConfig.model_validate(known), {}, unknown
    except ValidationError as error:
        wrong = {str(fault["loc"][0]): _field_error(fault, path) for fault in error.errors(include_url=False)}
    readable = {name: value for name, value in known.items() if name not in wrong}
    return SpegelConfig.model_validate({**readable, "apiVersion": API_VERSION, "kind": KIND}), wrong, unknown


def _field_error(fault: ErrorDetails, path: str) -> FieldError:
    name = str(fault["loc"][0])
    where, value = child(path, name), fault["input"]
    supported = {"apiVersion": API_VERSION, "kind": KIND}.get(name)
    if supported is None:
        return FieldError(where, ErrorType.INVALID, value, _DETAILS[fault["type"]])
    if fault["type"] == "missing" or value in (None, ""):
        return FieldError(where, ErrorType.REQUIRED, detail=f"must be {shown(supported)}")
    return FieldError(where, ErrorType.NOT_SUPPORTED, value, f"supported values: {shown(supported)}")
