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
    MAX_KEYS,
    MAX_PER_KEY,
    MAX_PER_PROVIDER,
    MAX_PROVIDERS,
    ProviderStore,
)
from daemon.libp2p.peer_info import PeerInfo
from tests.daemon.kademlia.peers import keys, many, peer, peers

KEY = content_key("a")


def store() -> ProviderStore:
    return ProviderStore(Random(1))


def ids(infos: list[PeerInfo]) -> set[bytes]:
    return {info.id.raw for info in infos}


def test_what_a_peer_provides_is_told_until_it_expires():
    one = store()
    assert one.add(KEY, peer(1), now=100)
    assert one.get(KEY, now=100 + RECORD_VALIDITY - 1) == [peer(1)]
    assert one.get(KEY, now=100 + RECORD_VALIDITY) == []
    assert one.get(b"another", now=100) == []


def test_a_record_that_is_sent_again_lives_on():
    one = store()
    one.add(KEY, peer(1), now=0)
    one.add(KEY, peer(1), now=900)
    assert one.get(KEY, now=RECORD_VALIDITY + 1) == [peer(1)]
    assert len(one) == 1


def test_the_newest_addresses_hold_for_all_records_of_a_peer():
    one, moved = store(), peer(1, "/ip6/fd00::1/tcp/5001")
    one.add(KEY, peer(1), now=0)
    one.add(b"another", moved, now=1)
    assert one.get(KEY, now=1) == [moved]


def test_addresses_are_known_for_longer_than_records():
    one = store()
    one.add(KEY, peer(1), now=0)
    one.expire(now=RECORD_VALIDITY + 1)
    assert len(one) == 0
    assert one.provider(peer(1).id, now=ADDRESS_VALIDITY - 1) == peer(1)
    assert one.provider(peer(1).id, now=ADDRESS_VALIDITY) is None
    assert one.provider(peer(2).id, now=0) is None


def test_providers_come_in_random_order_so_that_load_is_spread():
    one = store()
    for info in many(10):
        one.add(KEY, info, now=0)
    firsts = {one.get(KEY, now=1)[0].id.raw for _ in range(100)}
    assert len(firsts) > 5


def test_of_too_many_providers_of_a_key_those_that_spoke_last_are_kept():
    one = store()
    infos = many(MAX_PER_KEY + 10)
    for now, info in enumerate(infos):
        one.add(KEY, info, now=now)
    one.add(KEY, infos[12], now=200)
    one.add(KEY, peer(999), now=201)
    assert ids(one.get(KEY, now=202)) == ids([*infos[11:], peer(999)])
    assert len(one) == MAX_PER_KEY


def test_no_provider_fills_the_store_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(provider_store, "MAX_PER_PROVIDER", 5)
    one = store()
    assert [one.add(b"%d" % number, peer(1), now=0) for number in range(6)] == [True] * 5 + [False]
    assert one.add(b"0", peer(1), now=1)
    assert one.add(b"5", peer(2), now=1)


def test_of_too_many_keys_those_not_provided_for_longest_are_dropped(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(provider_store, "MAX_KEYS", 8)
    monkeypatch.setattr(provider_store, "_DROPPED_AT_ONCE", 2)
    one = store()
    for number in range(8):
        one.add(b"%d" % number, peer(1), now=number)
    one.add(b"0", peer(2), now=8)
    one.add(b"8", peer(1), now=9)
    assert [number for number in range(9) if not one.get(b"%d" % number, now=10)] == [1, 2]
    assert len(one) == 8


def test_of_too_many_providers_the_newest_is_refused_unless_another_provides_nothing(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(provider_store, "MAX_PROVIDERS", 2)
    one = store()
    one.add(b"1", peer(1), now=0)
    one.add(b"2", peer(2), now=600)
    assert not one.add(b"3", peer(3), now=600)
    one.expire(now=RECORD_VALIDITY + 1)
    assert one.add(b"3", peer(3), now=RECORD_VALIDITY + 1)
    assert one.get(b"2", now=RECORD_VALIDITY + 1) == [peer(2)]
    assert one.get(b"3", now=RECORD_VALIDITY + 1) == [peer(3)]


def test_twenty_thousand_records_take_less_than_eight_megabytes():
    infos = many(20)
    tracemalloc.start()
    try:
        one = store()
        for number, info in zip(range(20_000), itertools.cycle(infos)):
            one.add(content_key(f"key {number}"), info, now=number / 100)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(one) == 20_000
    assert size < 8_000_000


def test_the_limits_hold_numbers_that_records_can_hold():
    assert MAX_PROVIDERS <= 2**16
    assert MAX_PER_PROVIDER < MAX_KEYS


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
            assert self.store.add(key, info, self.now)
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
        one.add(key, info, now)
    one.expire(now + ADDRESS_VALIDITY + 1)
    assert len(one) == 0
    assert all(one.provider(info.id, now) is None for _, info, _ in adds)
