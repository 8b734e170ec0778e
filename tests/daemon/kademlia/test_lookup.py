"""Whom a lookup asks, and when it stops."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.kademlia.key import position
from daemon.kademlia.lookup import MAX_ASKED, MAX_CANDIDATES, MAX_UNPROVEN, Lookup, ProviderLookup
from daemon.kademlia.message import MAX_ADDRESSES
from daemon.kademlia.parameters import ALPHA, BETA, K
from daemon.libp2p.peer_info import PeerInfo
from tests.daemon.kademlia.peers import many, peer

LOCAL = peer(0).id
TARGET = position(b"target")


def by_distance(infos: Iterable[PeerInfo]) -> list[PeerInfo]:
    return sorted(infos, key=lambda info: position(info.id.raw) ^ TARGET)


CROWD = by_distance(many(300))


def lookup(seeds: Iterable[PeerInfo]) -> Lookup:
    return Lookup(TARGET, seeds, LOCAL)


def test_the_nearest_are_asked_first_alpha_at_once():
    one = lookup(CROWD[10:40])
    assert one.to_ask() == CROWD[10 : 10 + ALPHA]
    assert one.to_ask() == []


def test_each_end_of_a_request_makes_room_for_another():
    one = lookup(CROWD[10:40])
    one.to_ask()
    one.answered(CROWD[12].id, [])
    one.failed(CROWD[10].id)
    assert one.to_ask() == CROWD[20:22]


def test_nearer_peers_that_are_heard_of_are_asked_next():
    one = lookup(CROWD[10:40])
    one.to_ask()
    one.answered(CROWD[10].id, CROWD[:2])
    assert one.to_ask() == CROWD[:1]


def test_when_the_nearest_beta_have_answered_the_rest_of_the_nearest_k_is_asked_at_once():
    one = lookup(CROWD[:60])
    one.to_ask()
    for info in CROWD[:BETA]:
        one.answered(info.id, [])
    assert one.to_ask() == CROWD[ALPHA:K]


def test_it_is_done_when_the_nearest_k_have_answered():
    one = lookup(CROWD[:60])
    asked = []
    while not one.done:
        batch = one.to_ask()
        asked += batch
        for info in batch:
            one.answered(info.id, [])
    assert asked == CROWD[:K]
    assert one.nearest() == CROWD[:K]


def test_others_take_the_places_of_those_that_fail():
    one = lookup(CROWD[:60])
    while not one.done:
        for info in one.to_ask():
            if info in CROWD[:5]:
                one.failed(info.id)
            else:
                one.answered(info.id, [])
    assert one.nearest() == CROWD[5 : K + 5]


def test_it_is_done_when_there_is_nobody_left_to_ask():
    one = lookup(CROWD[:2])
    one.to_ask()
    one.answered(CROWD[0].id, [])
    assert not one.done
    one.failed(CROWD[1].id)
    assert one.done
    assert one.nearest() == CROWD[:1]


def test_the_word_of_one_peer_takes_up_half_of_what_is_asked_at_once_and_others_go_on():
    liar, honest, made_up = CROWD[100], CROWD[101:110], CROWD[:40]
    one = lookup([liar, *honest])
    one.to_ask()
    one.answered(liar.id, made_up)
    assert one.to_ask() == made_up[:1], "there is no more room yet"
    for info, named in zip(honest, CROWD[50:], strict=False):
        one.answered(info.id, [named])
    assert one.to_ask() == [*made_up[1:MAX_UNPROVEN], *CROWD[50 : 50 + ALPHA - MAX_UNPROVEN]]
    for info in made_up[:MAX_UNPROVEN]:
        one.failed(info.id)
    while not one.done:
        for info in one.to_ask():
            assert info not in made_up, "nobody answered for whom it gave its word"
            one.answered(info.id, [])
        for info in CROWD[50 : 50 + ALPHA - MAX_UNPROVEN]:
            one.answered(info.id, [])
    assert one.nearest(3) == CROWD[50:53]


def test_those_that_answer_prove_who_named_them_right():
    one = lookup([CROWD[100]])
    asked = one.to_ask()
    one.answered(CROWD[100].id, CROWD[10:30])
    while batch := one.to_ask():
        assert len(batch) <= MAX_UNPROVEN
        asked += batch
        for info in batch:
            one.answered(info.id, [])
    assert asked[1:] == CROWD[10:30]
    assert one.done


def test_an_answer_that_comes_late_counts_after_all():
    one = lookup(CROWD[10:30])
    one.to_ask()
    one.failed(CROWD[12].id)
    one.failed(CROWD[12].id)
    one.answered(CROWD[12].id, CROWD[:2])
    assert one.to_ask() == CROWD[:1], "one peer's place has become free, not two"
    assert CROWD[12] in one.nearest()


def test_those_that_two_have_named_are_asked_like_any_others():
    one = lookup(CROWD[100:110])
    one.to_ask()
    for info in CROWD[100:110]:
        one.answered(info.id, CROWD[10:30])
    assert one.to_ask() == CROWD[10 : 10 + ALPHA]


@pytest.mark.parametrize("count", [1, MAX_ADDRESSES])
def test_a_peer_that_says_of_others_that_they_are_where_they_are_not_is_outvoted(count: int):
    one = lookup(CROWD[100:110])
    one.to_ask()
    liar, *honest = CROWD[100:110]
    elsewhere = tuple(peer(1, f"/ip4/192.0.2.{number}/tcp/1").addresses[0] for number in range(count))
    one.answered(liar.id, [replace(info, addresses=elsewhere) for info in CROWD[10:30]])
    misled = one.to_ask()
    assert len(misled) == 1
    for info in honest:
        one.answered(info.id, CROWD[10:30])
    asked = []
    while batch := one.to_ask():
        asked += batch
        for info in batch:
            one.answered(info.id, CROWD[10:30])
    assert [info.id for info in asked] == [info.id for info in CROWD[11:30]]
    assert all(info.addresses[:1] == CROWD[10].addresses for info in asked), "what two say comes first"


def test_who_is_named_without_addresses_is_asked_where_another_says():
    one = lookup(CROWD[100 : 100 + ALPHA])
    one.to_ask()
    one.answered(CROWD[100].id, [replace(info, addresses=()) for info in CROWD[10:30]])
    first = one.to_ask()
    one.answered(CROWD[101].id, CROWD[10:30])
    one.answered(CROWD[102].id, [])
    assert first == [replace(CROWD[10], addresses=())]
    assert one.to_ask() == CROWD[11:13]


def test_without_seeds_it_is_done_at_once():
    assert lookup([]).done
    assert lookup([peer(0)]).done


def test_hops_are_counted_along_the_answers():
    one = lookup(CROWD[40:42])
    one.to_ask()
    one.answered(CROWD[40].id, CROWD[:1])
    one.to_ask()
    one.answered(CROWD[0].id, [])
    assert one.hops == 2


def test_answers_of_strangers_and_second_answers_are_passed_over():
    one = lookup(CROWD[10:12])
    one.to_ask()
    one.answered(CROWD[0].id, CROWD[1:3])
    one.failed(CROWD[5].id)
    one.answered(CROWD[10].id, [])
    one.answered(CROWD[10].id, CROWD[1:3])
    one.failed(CROWD[10].id)
    assert one.to_ask() == []
    assert one.nearest() == [CROWD[10]]


def test_a_stopped_lookup_asks_nobody():
    one = lookup(CROWD[:5])
    one.stop()
    assert one.to_ask() == []
    assert one.done


def test_endless_nearer_peers_do_not_make_it_endless():
    """A hostile peer invents peers that are ever nearer."""
    invented = iter(reversed(by_distance(many(3000, start=1000))))
    one = lookup(CROWD[250:])
    asked = 0
    while not one.done:
        for info in one.to_ask():
            asked += 1
            one.answered(info.id, [next(invented) for _ in range(3)])
    assert asked <= MAX_ASKED


def test_the_nearest_candidates_are_kept_when_there_are_too_many():
    others = by_distance(many(2 * MAX_CANDIDATES, start=1000))
    one = lookup(CROWD[290:291])
    one.to_ask()
    one.answered(CROWD[290].id, reversed(others))
    asked = []
    while not one.done:
        for info in one.to_ask():
            asked.append(info)
            one.answered(info.id, [])
    assert asked[:K] == others[:K]


PLACES = {info: position(info.id.raw) for info in CROWD}
NEIGHBOURS = {
    info: sorted(CROWD, key=lambda one: PLACES[one] ^ PLACES[info])[:40]  # used at once
    for info in CROWD[:80]
}


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 80), st.randoms(use_true_random=False))
def test_a_lookup_finds_the_nearest_of_those_that_answer(count: int, random: Random):
    """Peers that know their neighbours and some others; some do not answer; answers come in any order."""
    infos = CROWD[:count]
    dead = set(random.sample(infos, random.randint(0, count // 4)))
    knows = {
        info: [one for one in NEIGHBOURS[info] if one in infos] + random.sample(infos, min(5, count))
        for info in infos
    }
    one = lookup(random.sample(infos, min(K, len(infos))))
    waiting: list[PeerInfo] = []
    asked: list[PeerInfo] = []
    answered: list[PeerInfo] = []
    while True:
        more = one.to_ask()
        asked += more
        waiting += more
        if one.done or not waiting:
            break
        info = waiting.pop(random.randrange(len(waiting)))
        if info in dead:
            one.failed(info.id)
        else:
            answered.append(info)
            one.answered(info.id, [*knows[info], peer(0)])
    assert one.done
    assert len(asked) == len(set(asked))
    assert peer(0) not in asked
    assert one.nearest() == by_distance(answered)[:K]


def provider_lookup(wanted: int) -> ProviderLookup:
    return ProviderLookup(TARGET, CROWD[:30], LOCAL, wanted)


def test_providers_are_told_once_up_to_the_number_wanted():
    one = provider_lookup(3)
    assert one.provided([peer(501), peer(502)]) == [peer(501), peer(502)]
    assert not one.done
    assert one.provided([peer(502), peer(503), peer(504)]) == [peer(503)]
    assert one.found == 3


def test_enough_providers_end_the_lookup():
    one = provider_lookup(1)
    one.to_ask()
    one.provided([peer(501)])
    assert one.done
    assert one.to_ask() == []


def test_the_node_itself_and_providers_without_addresses_are_none():
    one = provider_lookup(2)
    assert one.provided([peer(0), peer(501, None)]) == []
    assert one.provided([peer(501)]) == [peer(501)]
