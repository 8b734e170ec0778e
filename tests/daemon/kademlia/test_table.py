"""The routing table against brute force, and against go-libp2p-kbucket's way of unfolding buckets."""

from __future__ import annotations

from ipaddress import IPv6Address

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from daemon.kademlia.key import common_prefix, position
from daemon.kademlia.parameters import K
from daemon.kademlia.table import Table
from daemon.libp2p.multiaddr import Multiaddr
from daemon.libp2p.peer_info import PeerInfo
from tests.daemon.kademlia.peers import many, peer, peers

LOCAL = peer(0)


def filled(*infos: PeerInfo, now: float = 0) -> Table:
    table = Table(LOCAL.id)
    for info in infos:
        table.add(info, now)
    return table


def depth(info: PeerInfo) -> int:
    return common_prefix(position(info.id.raw), position(LOCAL.id.raw))


FAR = [info for info in many(200) if depth(info) == 0]  # all of them belong into one bucket


def test_the_node_itself_never_gets_in():
    assert not filled().add(LOCAL, 0)
    assert len(filled(LOCAL)) == 0


def test_a_bucket_takes_k_peers():
    table = filled(*FAR[:K])
    assert not table.add(FAR[K], 0)
    assert len(table) == K


def test_a_place_that_becomes_free_is_taken():
    table = filled(*FAR[:K])
    assert table.remove(FAR[3].id) == FAR[3]
    assert table.add(FAR[K], 0)
    assert table.remove(FAR[3].id) is None


def test_a_peer_that_answers_again_keeps_its_place_and_its_newest_addresses():
    moved = PeerInfo(FAR[0].id, (Multiaddr.parse("/ip6/fd00::9/tcp/5001"),))
    table = filled(*FAR[:K])
    assert table.add(moved, 1)
    assert table.get(moved.id) == moved
    assert table.add(PeerInfo(moved.id, ()), 2)
    assert table.get(moved.id) == moved


def test_any_number_of_peers_of_one_network_prefix_gets_in():
    prefix = int(IPv6Address("2001:db8::"))
    infos = [
        PeerInfo(info.id, (Multiaddr.tcp(IPv6Address(prefix + number), 5001),))
        for number, info in enumerate(many(K))
    ]
    assert len(filled(*infos)) == K


def test_who_has_been_silent_longest_is_in_the_way_of_a_newcomer():
    table = filled(*FAR[:K], now=10)
    table.add(FAR[0], 20)
    assert table.in_the_way_of(FAR[K].id, silent_since=15) == FAR[1]


def test_nobody_who_answered_lately_is_in_the_way():
    assert filled(*FAR[:K], now=10).in_the_way_of(FAR[K].id, silent_since=9) is None


def test_nobody_is_in_the_way_when_there_is_room_or_the_peer_is_in():
    assert filled(*FAR[: K - 1]).in_the_way_of(FAR[K].id, silent_since=99) is None
    assert filled(*FAR[:K]).in_the_way_of(FAR[0].id, silent_since=99) is None


def test_silent_peers_are_those_not_heard_since():
    table = filled(*FAR[:3], now=10)
    table.add(FAR[1], 20)
    assert table.silent(since=10) == [FAR[0], FAR[2]]


def test_small_tables_need_no_search_but_that_for_the_node_itself():
    assert list(filled(*many(K - 1)).depths()) == []


def test_buckets_are_searched_down_to_where_all_deeper_ones_hold_less_than_k():
    table = filled(*many(300))
    held = [depth(info) for info in table]
    depths = table.depths()
    assert sum(1 for one in held if one >= depths.stop) < K
    assert all(sum(1 for one in held if one >= searched) >= K for searched in depths)
    assert depths


@given(st.lists(peers, max_size=120), st.integers(0, 2**256 - 1), st.integers(1, 30), peers)
def test_nearest_are_the_nearest(infos: list[PeerInfo], target: int, count: int, sender: PeerInfo):
    table = filled(*infos)
    expected = sorted(
        (info for info in table if info.id != sender.id), key=lambda info: position(info.id.raw) ^ target
    )
    assert table.nearest(target, count, without=sender.id) == expected[:count]


class Unfolding:
    """go-libp2p-kbucket's rule: peers are sorted into the last bucket until that is full and splits."""

    def __init__(self) -> None:
        self.buckets: list[set[bytes]] = [set()]
        self.depths: dict[bytes, int] = {}

    def bucket(self, info: PeerInfo) -> set[bytes]:
        return self.buckets[min(depth(info), len(self.buckets) - 1)]

    def add(self, info: PeerInfo) -> bool:
        raw = info.id.raw
        self.depths[raw] = depth(info)
        if raw in self.bucket(info):
            return True
        if len(self.bucket(info)) >= K and self.bucket(info) is self.buckets[-1]:
            while len(self.buckets[-1]) >= K:
                last = len(self.buckets) - 1
                deeper = {one for one in self.buckets[last] if self.depths[one] > last}
                self.buckets[last] -= deeper
                self.buckets.append(deeper)
        if len(self.bucket(info)) >= K:
            return False
        self.bucket(info).add(raw)
        return True


class TableModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.table = Table(LOCAL.id)
        self.model = Unfolding()
        self.now = 0.0

    @rule(infos=st.lists(peers, max_size=60))
    def add(self, infos: list[PeerInfo]) -> None:
        for info in infos:
            self.now += 1
            assert self.table.add(info, self.now) == self.model.add(info)

    @rule(info=peers)
    def remove(self, info: PeerInfo) -> None:
        bucket = self.model.bucket(info)
        assert (self.table.remove(info.id) is not None) == (info.id.raw in bucket)
        bucket.discard(info.id.raw)

    @invariant()
    def same_peers(self) -> None:
        held = set[bytes]().union(*self.model.buckets)
        assert {info.id.raw for info in self.table} == held
        assert len(self.table) == len(held)


TestTableModel = TableModel.TestCase
TestTableModel.settings = settings(deadline=None, max_examples=50)
