"""From the providerConfig of a Shoot or of an Extension to the configuration that it means."""

from __future__ import annotations

from api import v1alpha1
from api.config import SpegelConfig
from api.defaults import default
from api.field import InvalidObject, child
from api.validation import validate


def load(raw: object, *, path: str, networking_type: str | None) -> SpegelConfig:
    """Decode, default and validate a providerConfig.

    Args:
        raw: the document as JSON or YAML gave it; None means that there is none, and thus all defaults.
        path: where it stands, for the errors: ``spec.extensions[2].providerConfig``.
        networking_type: spec.networking.type of the Shoot; None when unknown.

    Raises:
        InvalidObject: with all errors of the document, in the order of the API's fields, unknown ones last.
    """
    document, wrong, others = v1alpha1.decode(raw, path=path)
    config = default(document, networking_type)
    errors = [
        *wrong.values(),
        *validate(document, config, wrong=wrong, path=path, networking_type=networking_type),
    ]
    if errors or others:
        position = {child(path, name): index for index, name in enumerate(v1alpha1.FIELDS)}
        raise InvalidObject([*sorted(errors, key=lambda error: position[error.path]), *others])
    return config
