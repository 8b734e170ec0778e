"""SpegelConfig v1alpha1: what is accepted, what unset fields mean, and how everything else is refused."""

from __future__ import annotations

import datetime
import math
from typing import Any

import pytest

import api

PATH = "spec.extensions[2].providerConfig"
HEAD = {"apiVersion": "spegel.extensions.gardener.cloud/v1alpha1", "kind": "SpegelConfig"}


def load(raw: object, networking_type: str | None = None) -> api.SpegelConfig:
    return api.load(raw, path=PATH, networking_type=networking_type)


def errors(raw: object, networking_type: str | None = None) -> list[str]:
    with pytest.raises(api.InvalidObject) as caught:
        load(raw, networking_type)
    return [str(error) for error in caught.value.errors]


def errors_of(fields: dict[Any, Any], networking_type: str | None = None) -> list[str]:
    """Return the errors of a document with these fields, without the path that they share."""
    return [error.removeprefix(f"{PATH}.") for error in errors(HEAD | fields, networking_type)]


class TestDefaults:
    @pytest.mark.parametrize("raw", [None, HEAD, HEAD | dict.fromkeys(["registryPort", "resolveTags"])])
    def test_nothing_set(self, raw: object):
        assert load(raw) == api.SpegelConfig(5000, 5001, 9090, resolve_tags=True)

    def test_each_field_by_itself(self):
        assert load(HEAD | {"registryPort": 1}) == api.SpegelConfig(1, 5001, 9090, resolve_tags=True)
        assert load(HEAD | {"routerPort": 2}) == api.SpegelConfig(5000, 2, 9090, resolve_tags=True)
        assert load(HEAD | {"metricsPort": 3}) == api.SpegelConfig(5000, 5001, 3, resolve_tags=True)
        assert load(HEAD | {"resolveTags": False}) == api.SpegelConfig(5000, 5001, 9090, resolve_tags=False)

    def test_metrics_port_makes_way_for_cilium(self):
        assert load(None, "cilium").ports == {"registryPort": 5000, "routerPort": 5001, "metricsPort": 19090}
        assert load(HEAD | {"metricsPort": 9091}, "cilium").metrics_port == 9091

    @pytest.mark.parametrize("networking_type", ["calico", "Cilium", "", None])
    def test_metrics_port_elsewhere(self, networking_type: str | None):
        assert load(None, networking_type).metrics_port == 9090

    def test_ports_may_swap(self):
        config = load(HEAD | {"registryPort": 5001, "routerPort": 9090, "metricsPort": 5000})
        assert config.ports == {"registryPort": 5001, "routerPort": 9090, "metricsPort": 5000}


class TestOneField:
    @pytest.mark.parametrize("port", [1, 65535])
    def test_range_is_inclusive(self, port: int):
        assert load(HEAD | {"registryPort": port}).registry_port == port

    @pytest.mark.parametrize("port", [-1, 0, 65536, 70000])
    def test_out_of_range(self, port: int):
        assert errors(HEAD | {"registryPort": port}) == [
            f"{PATH}.registryPort: Invalid value: {port}: must be between 1 and 65535, inclusive"
        ]

    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            ("5000", '"5000"'),
            ("", '""'),
            (True, "true"),
            (5000.0, "5000.0"),
            (math.nan, "NaN"),
            (math.inf, "Infinity"),
            ([5000], "[5000]"),
            ({"port": None}, '{"port": null}'),
            (datetime.date(2026, 2, 17), '"2026-02-17"'),
        ],
    )
    @pytest.mark.parametrize("name", ["registryPort", "routerPort", "metricsPort"])
    def test_no_integer(self, name: str, value: object, shown: str):
        assert errors_of({name: value}) == [f"{name}: Invalid value: {shown}: must be an integer"]

    @pytest.mark.parametrize(("value", "shown"), [(1, "1"), ("true", '"true"'), ([], "[]")])
    def test_no_boolean(self, value: object, shown: str):
        assert errors_of({"resolveTags": value}) == [
            f"resolveTags: Invalid value: {shown}: must be a boolean"
        ]

    @pytest.mark.parametrize(
        "unset", [{}, {"apiVersion": None, "kind": None}, {"apiVersion": "", "kind": ""}]
    )
    def test_version_and_kind_are_required(self, unset: dict[str, object]):
        assert errors(unset) == [
            f'{PATH}.apiVersion: Required value: must be "spegel.extensions.gardener.cloud/v1alpha1"',
            f'{PATH}.kind: Required value: must be "SpegelConfig"',
        ]

    @pytest.mark.parametrize(("value", "shown"), [("v1", '"v1"'), (1, "1"), (["v1"], '["v1"]')])
    def test_another_version(self, value: object, shown: str):
        (error,) = errors_of({"apiVersion": value})
        assert error == f'apiVersion: Unsupported value: {shown}: supported values: "{HEAD["apiVersion"]}"'

    def test_another_kind(self):
        assert errors_of({"kind": "RegistryConfig"}) == [
            'kind: Unsupported value: "RegistryConfig": supported values: "SpegelConfig"'
        ]

    @pytest.mark.parametrize("name", ["foo", "registryport", "registry_port", "api_version"])
    def test_unknown_field(self, name: str):
        assert errors_of({name: None}) == [f"{name}: Forbidden: unknown field"]

    @pytest.mark.parametrize("raw", [[], "x", 0, False, [HEAD], math.nan])
    def test_no_object(self, raw: object):
        (error,) = errors(raw)
        assert error.startswith(f"{PATH}: Invalid value: ")
        assert error.endswith(": must be an object")


class TestPortsTogether:
    def test_two_alike(self):
        assert errors_of({"registryPort": 7000, "routerPort": 7000}) == [
            "routerPort: Duplicate value: 7000: already the port of registryPort"
        ]

    def test_three_alike(self):
        assert errors_of({"registryPort": 7000, "routerPort": 7000, "metricsPort": 7000}) == [
            "routerPort: Duplicate value: 7000: already the port of registryPort",
            "metricsPort: Duplicate value: 7000: already the port of registryPort",
        ]

    @pytest.mark.parametrize(
        ("name", "port", "networking_type", "other"),
        [
            ("registryPort", 5001, None, "routerPort"),
            ("registryPort", 9090, None, "metricsPort"),
            ("routerPort", 5000, None, "registryPort"),
            ("metricsPort", 5001, "calico", "routerPort"),
            ("registryPort", 19090, "cilium", "metricsPort"),
        ],
    )
    def test_the_default_of_another(self, name: str, port: int, networking_type: str | None, other: str):
        (error,) = errors_of({name: port}, networking_type)
        assert error == (
            f"{name}: Duplicate value: {port}: already the default of {other};"
            f" set {other} too, or choose another port"
        )

    @pytest.mark.parametrize("name", ["registryPort", "routerPort", "metricsPort"])
    def test_cilium_agents_port_is_refused(self, name: str):
        (error,) = errors_of({name: 9090}, "cilium")
        assert error == (
            f"{name}: Invalid value: 9090: is held by cilium-agent on the nodes of shoots"
            " with networking type cilium (the default of metricsPort is 19090 there)"
        )

    def test_19090_is_no_default_but_on_cilium(self):
        assert load(HEAD | {"registryPort": 19090}, "calico").registry_port == 19090

    def test_the_default_of_a_wrong_field_clashes_with_nothing(self):
        assert errors_of({"registryPort": 5001, "routerPort": "x"}) == [
            'routerPort: Invalid value: "x": must be an integer'
        ]


MANY_FIELDS = {
    "zoo": 1,
    "metricsPort": 7000,
    "registryPort": "5000",
    "resolveTags": "yes",
    "bar": 2,
    "routerPort": 7000,
    "kind": "Spegel",
}
MANY_ERRORS = [
    'kind: Unsupported value: "Spegel": supported values: "SpegelConfig"',
    'registryPort: Invalid value: "5000": must be an integer',
    "metricsPort: Duplicate value: 7000: already the port of routerPort",
    'resolveTags: Invalid value: "yes": must be a boolean',
    "bar: Forbidden: unknown field",
    "zoo: Forbidden: unknown field",
]


class TestAllAtOnce:
    def test_every_error_is_reported(self):
        assert errors_of(MANY_FIELDS) == MANY_ERRORS

    def test_the_order_of_the_document_does_not_matter(self):
        assert errors_of(dict(reversed(MANY_FIELDS.items()))) == MANY_ERRORS

    def test_one_message_says_them_all(self):
        with pytest.raises(api.InvalidObject) as caught:
            load({"registryPort": 0} | HEAD | {"foo": 1})
        assert str(caught.value) == (
            f"[{PATH}.registryPort: Invalid value: 0: must be between 1 and 65535, inclusive,"
            f" {PATH}.foo: Forbidden: unknown field]"
        )

    def test_a_single_error_stands_without_brackets(self):
        with pytest.raises(api.InvalidObject) as caught:
            load(HEAD | {"foo": 1})
        assert str(caught.value) == f"{PATH}.foo: Forbidden: unknown field"

    def test_without_a_path_the_field_stands_alone(self):
        with pytest.raises(api.InvalidObject) as caught:
            api.load(HEAD | {"foo": 1}, path="", networking_type=None)
        assert str(caught.value) == "foo: Forbidden: unknown field"


class TestHostileInput:
    @staticmethod
    def nested(depth: int) -> list[Any]:
        value: list[Any] = []
        for _ in range(depth):
            value = [value]
        return value

    @pytest.mark.parametrize("size", [10**3, 10**6])
    def test_long_values_are_cut(self, size: int):
        (error,) = errors_of({"kind": "x" * size})
        assert error == f'kind: Unsupported value: "{"x" * 64}"...: supported values: "SpegelConfig"'

    def test_long_keys_are_cut(self):
        assert errors(HEAD | {"k" * 10**6: 1}) == [f"{PATH}[{'k' * 64}...]: Forbidden: unknown field"]

    @pytest.mark.parametrize("raw", [[1] * 10**6, ["x" * 10**6], {"k": {"v": list(range(10**5))}}])
    def test_large_values_are_cut(self, raw: object):
        (error,) = errors_of({"registryPort": raw})
        assert error.endswith("...: must be an integer")
        assert len(error) < 150

    def test_depth(self):
        deep = self.nested(100_000)
        assert errors_of({"registryPort": deep}) == [
            f"registryPort: Invalid value: {'[' * 64}...: must be an integer"
        ]
        assert errors(deep) == [f"{PATH}: Invalid value: {'[' * 64}...: must be an object"]

    @pytest.mark.parametrize("digits", [100, 5000])
    @pytest.mark.parametrize("sign", [1, -1])
    def test_huge_integers(self, digits: int, sign: int):
        (error,) = errors_of({"registryPort": sign * 10**digits})
        assert error.endswith("...: must be between 1 and 65535, inclusive")

    @pytest.mark.parametrize(
        ("key", "segment"),
        [
            ("a b", "[a b]"),
            ("a.b/c", "[a.b/c]"),
            ("a\nb", r"[a\nb]"),
            ('"', r"[\"]"),
            ("", "[]"),
            ("a\x7f", r"[a\u007f]"),
            ("\ud800", r"[\ud800]"),
            ("\u202e", r"[\u202e]"),
            ("ключ", "[ключ]"),
            ("1st", "[1st]"),
            (5000, "[5000]"),
            (None, "[null]"),
            (True, "[true]"),
        ],
    )
    def test_odd_keys(self, key: object, segment: str):
        assert errors(HEAD | {key: 1}) == [f"{PATH}{segment}: Forbidden: unknown field"]

    @pytest.mark.parametrize("value", ["\x7f", ["\x7f"], {"\x7f": "\n\u2028"}])
    def test_messages_are_one_printable_line(self, value: object):
        (error,) = errors_of({"registryPort": value})
        assert error.isprintable()

    def test_text_that_is_no_unicode(self):
        (error,) = errors_of({"kind": "\ud800"})
        assert error.startswith(r'kind: Unsupported value: "\ud800"')

    def test_more_errors_than_anyone_reads(self):
        with pytest.raises(api.InvalidObject) as caught:
            load(HEAD | {f"f{number}": 1 for number in range(10_000)})
        assert str(caught.value).endswith(", and more]")
        assert str(caught.value).count("unknown field") == 250
