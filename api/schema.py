"""The JSON schema of the API: the model's own, with the defaults that another step fills in."""

from __future__ import annotations

import json

from api import defaults, v1alpha1


def json_schema() -> str:
    """Return the JSON schema (draft 2020-12) of SpegelConfig v1alpha1, as the text of a file."""
    schema = v1alpha1.SpegelConfig.model_json_schema(by_alias=True)
    plain = defaults.default(v1alpha1.UNSET, None)
    for name, field in schema["properties"].items():
        # A title made from the field's name says nothing that the name does not say.
        del field["title"]
        if name in plain.ports:
            field["default"] = plain.ports[name]
    properties = schema["properties"]
    properties["resolveTags"]["default"] = plain.resolve_tags
    properties["metricsPort"]["description"] += (
        f" On shoots with networking type {defaults.CILIUM} the default is {defaults.CILIUM_METRICS_PORT},"
        f" because cilium-agent holds {defaults.CILIUM_AGENT_PORT} there."
    )
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(schema, indent=2) + "\n"
