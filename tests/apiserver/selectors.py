"""Label and field selectors, as they stand in a query."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.apiserver.status import RefusedError

Selector = Callable[[Mapping[str, Any]], bool]

_SET = re.compile(r"^(\S+)\s+(in|notin)\s+\(([^)]*)\)$")


def selector(labels: str, fields: str) -> Selector:
    """Return the predicate for an object.

    Raises:
        RefusedError: a selector cannot be understood.
    """
    label_tests = [_label_test(term.strip()) for term in re.split(r",(?![^(]*\))", labels) if term.strip()]
    field_tests = [_field_test(term.strip()) for term in fields.split(",") if term.strip()]

    def matches(thing: Mapping[str, Any]) -> bool:
        own = thing["metadata"].get("labels") or {}
        return all(test(own) for test in label_tests) and all(test(thing) for test in field_tests)

    return matches


def _label_test(term: str) -> Callable[[Mapping[str, str]], bool]:
    if found := _SET.match(term):
        key, operator, text = found.groups()
        values = {value.strip() for value in text.split(",")}
        if operator == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if "!=" in term:
        key, _, value = term.partition("!=")
        return lambda labels: labels.get(key.strip()) != value.strip()
    if "=" in term:
        key, _, value = re.sub("==", "=", term).partition("=")
        return lambda labels: labels.get(key.strip()) == value.strip()
    if term.startswith("!"):
        return lambda labels: term[1:] not in labels
    return lambda labels: term in labels


def _field_test(term: str) -> Callable[[Mapping[str, Any]], bool]:
    path, equals, value = term.replace("==", "=").partition("=")
    negated = path.endswith("!")
    path = path.removesuffix("!")
    if not equals or path not in ("metadata.name", "metadata.namespace"):
        raise RefusedError(400, f"field label not supported: {term}")
    key = path.partition(".")[2]
    return lambda thing: (thing["metadata"].get(key, "") == value) is not negated
