"""The provider store against a model that keeps every record in the simplest way."""

from __future__ import annotations

import itertools
import tracemalloc
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from daemon.kademlia import provider_store
from daemon.kademlia.key import content_key
from daemon.kademlia.parameters import ADDRESS_VALIDITY, RECORD_VALIDITY
from daemon.kademlia.provider_store import (
    MAX_PER_KEY,
    MAX_PROVIDERS,
    ProviderStore,
)
from daemon.libp2p.peer_info import PeerInfo
from tests.daemon.kademlia.peers import keys, many, peer, peers

KEY = content_key("a")


def store() -> ProviderStore:
    return ProviderStore(Random(1))


def at(info: PeerInfo) -> str:
    """The address of a peer that has one of its own."""
    return f"fd00::{info.id.raw[-2:].hex()}"


def add(to: ProviderStore, key: bytes, info: PeerInfo, now: float, address: str = "") -> bool:
    """Have a peer provide a key, from an address of its own unless another is given."""
    return to.add(key, info, now, address or at(info))


def ids(infos: list[PeerInfo]) -> set[bytes]:
    return {info.id.raw for info in infos}


def test_what_a_peer_provides_is_told_until_it_expires():
    one = store()
    assert add(one, KEY, peer(1), now=100)
    assert one.get(KEY, now=100 + RECORD_VALIDITY - 1) == [peer(1)]
    assert one.get(KEY, now=100 + RECORD_VALIDITY) == []
    assert one.get(b"another", now=100) == []


def test_a_record_that_is_sent_again_lives_on():
    one = store()
    add(one, KEY, peer(1), now=0)
    add(one, KEY, peer(1), now=900)
    assert one.get(KEY, now=RECORD_VALIDITY + 1) == [peer(1)]
    assert len(one) == 1


def test_the_newest_addresses_hold_for_all_records_of_a_peer():
    one, moved = store(), peer(1, "/ip6/fd00::1/tcp/5001")
    add(one, KEY, peer(1), now=0)
    add(one, b"another", moved, now=1)
    assert one.get(KEY, now=1) == [moved]


def test_addresses_are_known_for_longer_than_records():
    one = store()
    add(one, KEY, peer(1), now=0)
    one.expire(now=RECORD_VALIDITY + 1)
    assert len(one) == 0
    assert one.provider(peer(1).id, now=ADDRESS_VALIDITY - 1) == peer(1)
    assert one.provider(peer(1).id, now=ADDRESS_VALIDITY) is None
    assert one.provider(peer(2).id, now=0) is None


def test_providers_come_in_random_order_so_that_load_is_spread():
    one = store()
    for info in many(10):
        add(one, KEY, info, now=0)
    firsts = {one.get(KEY, now=1)[0].id.raw for _ in range(100)}
    assert len(firsts) > 5


def test_of_too_many_providers_of_a_key_those_that_spoke_last_are_kept():
    one = store()
    infos = many(MAX_PER_KEY + 10)
    for now, info in enumerate(infos):
        add(one, KEY, info, now=now)
    add(one, KEY, infos[12], now=200)
    add(one, KEY, peer(999), now=201)
    assert ids(one.get(KEY, now=202)) == ids([*infos[11:], peer(999)])
    assert len(one) == MAX_PER_KEY


def test_whoever_has_many_names_for_one_address_cannot_push_others_out_of_a_key():
    one = store()
    honest = many(MAX_PER_KEY - 1)
    for info in honest:
        add(one, KEY, info, now=0)
    for now, info in enumerate(many(200, start=1000)):
        add(one, KEY, info, now, "fd00::bad")
    assert {info.id.raw for info in honest} < ids(one.get(KEY, now=200))
    assert len(one.get(KEY, now=200)) == MAX_PER_KEY


def test_of_too_many_keys_those_not_provided_for_longest_are_dropped(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(provider_store, "MAX_KEYS", 32)
    one = store()
    for number in range(32):
        add(one, b"%d" % number, peer(1), now=number)
    add(one, b"0", peer(1), now=32)
    add(one, b"32", peer(1), now=33)
    assert [number for number in range(33) if not one.get(b"%d" % number, now=34)] == [1, 2]
    assert len(one) == 31


def test_of_too_many_keys_those_of_the_greediest_address_are_dropped(monkeypatch: pytest.MonkeyPatch):
    """Five identities at one address with 1,000 keys each, and ten nodes that have had 30 each for longer."""
    monkeypatch.setattr(provider_store, "MAX_KEYS", 600)
    one = store()
    honest, hostile = many(10), many(5, start=900)
    for info in honest:
        for number in range(30):
            add(one, content_key(f"{info.id} {number}"), info, now=0)
    for number in range(1000):
        for info in hostile:
            assert add(one, content_key(f"{info.id} {number}"), info, 1, "fd00::bad")
    for info in honest:
        for number in range(30):
            assert one.get(content_key(f"{info.id} {number}"), now=2) == [info]
    assert 600 - 300 // 16 <= len(one) <= 600


def test_neighbours_of_one_prefix_are_counted_one_by_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(provider_store, "MAX_KEYS", 100)
    one = store()
    for number in range(60):
        add(one, b"crowd %d" % number, peer(1 + number % 6), 0, f"fd00::{1 + number % 6}")
    for number in range(100):
        add(one, b"greedy %d" % number, peer(9), 1, "fd00::9")
    assert all(one.get(b"crowd %d" % number, now=2) for number in range(60))


def test_a_key_stays_while_somebody_else_provides_it(monkeypatch: pytest.MonkeyPatch):
    """So nobody gets rid of another's record by providing the same key and then too many others."""
    monkeypatch.setattr(provider_store, "MAX_KEYS", 50)
    one = store()
    for number in range(10):
        add(one, b"%d" % number, peer(1), now=0)
        add(one, b"%d" % number, peer(2), now=1)
    for number in range(100, 300):
        add(one, b"%d" % number, peer(2), now=2)
    assert all(peer(1) in one.get(b"%d" % number, now=3) for number in range(10))


def test_providing_another_nodes_keys_too_costs_it_none_of_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(provider_store, "MAX_KEYS", 300)
    one = store()
    for number in range(150):
        add(one, b"other %d" % number, peer(2), 0, "fd00::2")
    for number in range(100):
        add(one, b"%d" % number, peer(1), 1, "fd00::1")
    for number in range(100):
        add(one, b"%d" % number, peer(3), 2, "fd00::3")
    for number in range(1000):
        add(one, b"made up %d" % number, peer(3), 3, "fd00::3")
    assert sum(peer(1) in one.get(b"%d" % number, now=4) for number in range(100)) == 100


def test_whoever_makes_up_names_cannot_keep_newcomers_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(provider_store, "MAX_PROVIDERS", 64)
    one = store()
    honest = many(20)
    for info in honest[:10]:
        add(one, KEY, info, now=0)
    for number, info in enumerate(many(1000, start=1000)):
        assert add(one, b"%d" % number, info, 1, "fd00::bad")
        assert len(one._by_number) <= 2 * 64
    for info in honest[10:]:
        assert add(one, KEY, info, now=2)
    assert ids(one.get(KEY, now=3)) == ids(honest)
    one.expire(now=2 + RECORD_VALIDITY)
    one.expire(now=2 + ADDRESS_VALIDITY)
    assert len(one) == len(one._by_number) == len(one._hosts) == 0


def test_of_too_many_providers_the_newest_is_refused_unless_another_provides_nothing(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(provider_store, "MAX_PROVIDERS", 2)
    one = store()
    add(one, b"1", peer(1), now=0)
    add(one, b"2", peer(2), now=600)
    assert not add(one, b"3", peer(3), now=600)
    one.expire(now=RECORD_VALIDITY + 1)
    assert add(one, b"3", peer(3), now=RECORD_VALIDITY + 1)
    assert one.get(b"2", now=RECORD_VALIDITY + 1) == [peer(2)]
    assert one.get(b"3", now=RECORD_VALIDITY + 1) == [peer(3)]


def test_twenty_thousand_records_take_less_than_eight_megabytes():
    infos = many(20)
    tracemalloc.start()
    try:
        one = store()
        for number, info in zip(range(20_000), itertools.cycle(infos)):
            add(one, content_key(f"key {number}"), info, now=number / 100)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(one) == 20_000
    assert size < 8_000_000


def test_the_limits_hold_numbers_that_records_can_hold():
    assert 2 * MAX_PROVIDERS <= 2**16


class StoreModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store = store()
        self.records: dict[tuple[bytes, bytes], float] = {}
        self.now = 0.0

    @rule(key=keys, infos=st.lists(peers, max_size=8), wait=st.integers(0, 300))
    def add(self, key: bytes, infos: list[PeerInfo], wait: int) -> None:
        self.now += wait
        for info in infos:
            self.now += 1
            assert add(self.store, key, info, self.now)
            self.records[key, info.id.raw] = self.now + RECORD_VALIDITY
        of_key = sorted((until, raw) for (one, raw), until in self.records.items() if one == key)
        for _, raw in of_key[:-MAX_PER_KEY]:
            del self.records[key, raw]

    @rule(wait=st.integers(0, 2000))
    def expire(self, wait: int) -> None:
        self.now += wait
        self.store.expire(self.now)

    @rule(key=keys)
    def get(self, key: bytes) -> None:
        expected = {raw for (one, raw), until in self.records.items() if one == key and until > self.now}
        found = self.store.get(key, self.now)
        assert ids(found) == expected
        assert len(found) == len(expected)

    @invariant()
    def every_key_counts_for_one_host(self) -> None:
        counted = [key for host in self.store._hosts.values() for key in host.keys]
        assert sorted(counted) == sorted(self.store._keys)

    @invariant()
    def every_live_record_is_counted(self) -> None:
        live = sum(until > self.now for until in self.records.values())
        assert live <= len(self.store) <= len(self.records)


TestStoreModel = StoreModel.TestCase
TestStoreModel.settings = settings(deadline=None, max_examples=50)


@given(st.lists(st.tuples(keys, peers, st.integers(0, 400)), max_size=60))
def test_nothing_is_left_when_all_has_expired(adds: list[tuple[bytes, PeerInfo, int]]):
    one, now = store(), 0.0
    for key, info, wait in adds:
        now += wait
        add(one, key, info, now)
    one.expire(now + ADDRESS_VALIDITY + 1)
    assert len(one) == 0
    assert all(one.provider(info.id, now) is None for _, info, _ in adds)
