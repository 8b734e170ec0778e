"""The JSON schema in docs/ says what the code does."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, example, given, reject
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import api
from api import v1alpha1
from api.schema import json_schema

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs/api/spegelconfig-v1alpha1.schema.json"
HEAD = {"apiVersion": "spegel.extensions.gardener.cloud/v1alpha1", "kind": "SpegelConfig"}
SCHEMA = json.loads(json_schema())
VALIDATOR = Draft202012Validator(SCHEMA)
BEYOND_SCHEMA = api.ErrorType.DUPLICATE
"""The one error that a JSON schema cannot express: two ports alike."""

ports = st.none() | st.integers(1, 65535)
documents = st.fixed_dictionaries(
    {key: st.just(value) for key, value in HEAD.items()},
    optional={
        "registryPort": ports,
        "routerPort": ports,
        "metricsPort": ports,
        "resolveTags": st.none() | st.booleans(),
    },
)
# Integral floats are integers to a JSON schema, and none to Kubernetes or to load().
scalars = st.none() | st.booleans() | st.integers() | st.floats().filter(lambda x: x % 1 != 0) | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)
names = st.sampled_from(v1alpha1.FIELDS) | st.text(string.ascii_letters, min_size=1)
nearly = st.tuples(documents, st.dictionaries(names, ports | values, max_size=3)).map(
    lambda two: two[0] | two[1]
)


def load(raw: object, networking_type: str | None = None) -> api.SpegelConfig:
    return api.load(raw, path="providerConfig", networking_type=networking_type)


def test_the_file_is_up_to_date():
    assert FILE.read_text("utf-8") == json_schema(), (
        f"stale; run: python -m api > {FILE.relative_to(ROOT).as_posix()}"
    )


def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(SCHEMA)


def test_the_defaults_are_those_of_the_code():
    properties = SCHEMA["properties"]
    assert {name: properties[name]["default"] for name in load(None).ports} == load(None).ports
    assert properties["resolveTags"]["default"] is load(None).resolve_tags


def test_every_field_but_the_head_is_described():
    assert all("description" in field for name, field in SCHEMA["properties"].items() if name not in HEAD)


@example({})
@example(HEAD)
@example(HEAD | {"registryPort": True})
@example(HEAD | {"registryPort": 65536})
@example(HEAD | {"registryPort": 0})
@example(HEAD | {"foo": None})
@given(documents | nearly | values)
def test_schema_and_code_agree(raw: Any):
    caught: tuple[api.FieldError, ...] = ()
    try:
        load(raw)
    except api.InvalidObject as invalid:
        caught = invalid.errors
    # None is the absence of a document, not a document.
    valid = raw is None or VALIDATOR.is_valid(raw)
    assert valid is all(error.type is BEYOND_SCHEMA for error in caught)


@given(documents, st.sampled_from(["calico", "cilium", None]))
def test_what_is_written_is_what_is_meant(raw: dict[str, Any], networking_type: str | None):
    try:
        config = load(raw, networking_type)
    except api.InvalidObject:
        reject()
    for name, port in config.ports.items():
        assert raw.get(name) in {None, port}
    assert len(set(config.ports.values())) == 3
    assert raw.get("resolveTags") in {None, config.resolve_tags}
    assert load(HEAD | config.ports | {"resolveTags": config.resolve_tags}, networking_type) == config


@given(nearly | values, st.sampled_from(["calico", "cilium", None]))
def test_nothing_but_invalid_object_is_raised(raw: Any, networking_type: str | None):
    caught: tuple[api.FieldError, ...] = ()
    try:
        load(raw, networking_type)
    except api.InvalidObject as invalid:
        caught = invalid.errors
        event("refused")
    for error in caught:
        assert error.path.startswith("providerConfig")
        assert str(error).isprintable()


@pytest.mark.parametrize("networking_type", ["calico", "cilium", None])
def test_every_set_port_error_is_found_whatever_else_is_wrong(networking_type: str | None):
    raw = {"registryPort": 7, "routerPort": 7, "metricsPort": [], "foo": 1}
    with pytest.raises(api.InvalidObject) as caught:
        load(raw, networking_type)
    assert [error.path.removeprefix("providerConfig.") for error in caught.value.errors] == [
        "apiVersion",
        "kind",
        "routerPort",
        "metricsPort",
        "foo",
    ]
