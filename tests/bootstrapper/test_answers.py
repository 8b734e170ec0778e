"""The order of nodes, and what is served."""

from __future__ import annotations

import ipaddress
import json
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bootstrapper.answers import MAX_LIMIT, Answers, entry, next_change, select
from bootstrapper.node import Node, Rank, read
from tests.bootstrapper.nodes import node

NOW = 2_000_000_000.0
PATIENCE = 300.0


def answers(*things: dict[str, Any]) -> Answers:
    nodes = [kept for thing in things if (kept := read(thing))]
    return Answers(select(nodes, NOW, PATIENCE))


def names(*things: dict[str, Any], limit: int = MAX_LIMIT) -> list[str]:
    return [each["IP"] for each in json.loads(answers(*things).nodes(limit).body)]


def test_the_one_shape_that_both_clients_read() -> None:
    assert entry(["10.1.2.3"]) == '{"ID":"","Addrs":["/ip4/10.1.2.3"],"IP":"10.1.2.3","Zone":""}'
    assert json.loads(entry(["10.1.2.3", "fd00::3"])) == {
        "ID": "",
        "Addrs": ["/ip4/10.1.2.3", "/ip6/fd00::3"],
        "IP": "10.1.2.3",
        "Zone": "",
    }


def test_no_nodes_are_an_empty_list() -> None:
    assert answers().nodes(10).body == b"[]"
    assert answers().topology.body == b"{}"


def test_ready_nodes_come_first_and_leaving_ones_last() -> None:
    assert names(
        node("a", "10.0.0.1", deletionTimestamp="2026-01-02T00:00:00Z"),
        node("b", "10.0.0.2", ready=False, since="2026-01-01T00:00:00Z"),
        node("c", "10.0.0.3", ready=False, since="2033-05-18T03:33:10Z"),  # ten seconds ago
        node("d", "10.0.0.4"),
    ) == ["10.0.0.4", "10.0.0.3", "10.0.0.1", "10.0.0.2"]


def test_the_oldest_come_first_so_that_one_that_joins_changes_nothing() -> None:
    old = [
        node(f"n{number}", f"10.0.0.{number}", created=f"2026-01-{number:02}T00:00:00Z")
        for number in (1, 2, 3)
    ]
    before = answers(*old).nodes(3)
    young = node("a-young-one", "10.0.0.9", created="2026-02-01T00:00:00Z")
    assert names(young, *reversed(old)) == ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.9"]
    assert answers(young, *old).nodes(3) == before


def test_an_address_is_named_once_by_the_better_node() -> None:
    gone = node("a", "10.0.0.1", "fd00::1", ready=False, zone="old")
    here = node("b", "10.0.0.1", created="2026-02-01T00:00:00Z", zone="new")
    served = answers(gone, here)
    assert [each["Addrs"] for each in json.loads(served.nodes(9).body)] == [
        ["/ip4/10.0.0.1"],
        ["/ip6/fd00::1"],
    ]
    assert json.loads(served.topology.body) == {"10.0.0.1": "new", "fd00::1": "old"}


def test_the_topology_has_every_address_with_a_zone_whatever_its_node_is_up_to() -> None:
    body = answers(
        node("a", "10.0.0.2", "fd00::2", zone="zone-ü"),
        node("b", "10.0.0.1", zone="z1", ready=False),
        node("c", "10.0.0.3"),
    ).topology.body
    assert body.decode() == '{"10.0.0.1":"z1","10.0.0.2":"zone-ü","fd00::2":"zone-ü"}'


def test_the_topology_does_not_change_with_readiness() -> None:
    assert answers(node("a", "10.0.0.1", zone="z", ready=False)).topology == (
        answers(node("a", "10.0.0.1", zone="z")).topology
    )


def test_nodes_are_counted_by_rank() -> None:
    counts = answers(node("a", "10.0.0.1"), node("b"), node("c", ready=False)).counts
    assert counts == {"ready": 2, "not_ready": 0, "last": 1}


addresses = st.one_of(
    st.integers(0x0A000001, 0x0A000040).map(lambda number: str(ipaddress.IPv4Address(number))),
    st.integers(1, 40).map(lambda number: f"fd00::{number:x}"),
)
nodes = st.lists(
    st.builds(
        Node,
        created=st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]),
        name=st.text("abc", min_size=1, max_size=4),
        addresses=st.lists(addresses, max_size=3, unique=True).map(tuple),
        zone=st.sampled_from(["", "z1", "z2"]),
        leaving=st.booleans(),
        unready_since=st.none() | st.floats(NOW - 600, NOW),
    ),
    max_size=60,
    unique_by=lambda one: one.name,
)


@given(nodes, st.randoms())
def test_everyone_gets_the_same_whatever_the_order_of_events_was(
    some: list[Node], chance: random.Random
) -> None:
    shuffled = list(some)
    chance.shuffle(shuffled)
    assert select(shuffled, NOW, PATIENCE) == select(some, NOW, PATIENCE)


@given(nodes)
def test_each_answer_is_the_beginning_of_a_longer_one(some: list[Node]) -> None:
    served = Answers(select(some, NOW, PATIENCE))
    whole = json.loads(served.nodes(MAX_LIMIT).body)
    for limit in range(MAX_LIMIT + 1):
        answer = served.nodes(limit)
        assert json.loads(answer.body) == whole[:limit]
    named = [address for each in whole for address in each["Addrs"]]
    assert len(named) == len(set(named))
    assert {text.split("/")[2] for text in named} == {address for one in some for address in one.addresses}


@given(nodes)
def test_ranks_only_get_worse_along_the_list(some: list[Node]) -> None:
    best: dict[str, Rank] = {}
    for one in some:
        for address in one.addresses:
            best[address] = min(best.get(address, Rank.LAST), one.rank(NOW, PATIENCE))
    served = json.loads(Answers(select(some, NOW, PATIENCE)).nodes(MAX_LIMIT).body)
    ranks = [best[each["IP"]] for each in served]
    assert ranks == sorted(ranks)


@given(nodes)
def test_etags_differ_exactly_when_bodies_do(some: list[Node]) -> None:
    served = Answers(select(some, NOW, PATIENCE))
    all_answers = [served.nodes(limit) for limit in range(12)] + [served.topology]
    assert len({answer.etag for answer in all_answers}) == len({answer.body for answer in all_answers})


@given(nodes)
def test_the_next_change_is_when_the_order_changes_by_itself(some: list[Node]) -> None:
    due = next_change(some, NOW, PATIENCE)
    ranks = [one.rank(NOW, PATIENCE) for one in some]
    if due is None:
        assert [one.rank(NOW + 1e6, PATIENCE) for one in some] == ranks
    else:
        assert [one.rank(due - 1e-3, PATIENCE) for one in some] == ranks or due - NOW < 1e-3
        assert [one.rank(due + 1e-3, PATIENCE) for one in some] != ranks
