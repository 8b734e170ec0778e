"""What is kept of a Node object."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrapper.node import MAX_ADDRESSES, Node, Rank, read
from tests.bootstrapper.nodes import node

SINCE = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def kept(thing: object) -> Node:
    read_node = read(thing)
    assert read_node is not None
    return read_node


def test_a_ready_node() -> None:
    assert kept(node("a", "10.0.0.1", zone="z1")) == Node(
        created="2026-01-01T00:00:00Z",
        name="a",
        addresses=("10.0.0.1",),
        zone="z1",
        leaving=False,
        unready_since=None,
    )


def test_only_internal_addresses_of_both_families_in_their_order() -> None:
    assert kept(node("a", "fd00::0:1", "10.0.0.1", "10.0.0.1")).addresses == ("fd00::1", "10.0.0.1")


@pytest.mark.parametrize(
    "address", ["", "host", "10.0.0", "10.0.0.1/8", "127.0.0.1", "::1", "fe80::1", "0.0.0.0", "224.0.0.1"]
)
def test_addresses_that_lead_nowhere_are_left_out(address: str) -> None:
    assert kept(node("a", address, "10.0.0.2")).addresses == ("10.0.0.2",)


def test_addresses_are_bounded() -> None:
    many = kept(node("a", *(f"10.0.0.{number}" for number in range(1, 100))))
    assert len(many.addresses) == MAX_ADDRESSES


@pytest.mark.parametrize("ready", [False, "Unknown"])
def test_a_node_is_unready_since_its_last_transition(ready: Any) -> None:
    assert kept(node("a", ready=ready, created="2025-01-01T00:00:00Z")).unready_since == SINCE


def test_a_node_that_has_not_said_anything_is_unready_since_it_exists() -> None:
    assert kept(node("a", ready=None)).unready_since == SINCE
    assert kept({"metadata": {"name": "a"}}).unready_since == 0


@pytest.mark.parametrize(
    ("thing", "leaving"),
    [
        (node("a"), False),
        (node("a", taints=("node.kubernetes.io/unschedulable",)), False),
        (node("a", taints=("ToBeDeletedByClusterAutoscaler",)), True),
        (node("a", deletionTimestamp="2026-01-02T00:00:00Z"), True),
    ],
)
def test_a_node_that_is_being_deleted_is_leaving(thing: dict[str, Any], leaving: bool) -> None:
    assert kept(thing).leaving is leaving


def test_a_node_whose_machine_is_being_deleted_is_leaving() -> None:
    thing = node("a")
    thing["status"]["conditions"].append({"type": "Terminating", "status": "True"})
    assert kept(thing).leaving


@pytest.mark.parametrize(
    ("unready_for", "rank"),
    [(None, Rank.READY), (0, Rank.NOT_READY), (299, Rank.NOT_READY), (300, Rank.LAST)],
)
def test_the_rank(unready_for: float | None, rank: Rank) -> None:
    now = 1000.0
    one = kept(node("a"))._replace(unready_since=None if unready_for is None else now - unready_for)
    assert one.rank(now, 300) is rank
    assert one._replace(leaving=True).rank(now, 300) is Rank.LAST


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(json_values)
def test_anything_else_is_no_node(value: object) -> None:
    assert read(value) is None or isinstance(value, dict)


@given(
    st.sampled_from(["metadata", "spec", "status"]),
    st.sampled_from(["creationTimestamp", "labels", "taints", "addresses", "conditions", None]),
    json_values,
)
def test_nonsense_in_a_field_counts_as_nothing(part: str, field: str | None, value: object) -> None:
    thing = node("a", "10.0.0.1", zone="z1")
    if field is None:
        thing[part] = value
    else:
        thing[part][field] = value
    result = read(thing)
    if part == "metadata" and field is None:
        return
    assert result is not None
    assert result.name == "a"
