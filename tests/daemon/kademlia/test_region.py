"""Regions hold the nearest peers of every key in them, whatever the network looks like."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.kademlia.key import content_key, position
from daemon.kademlia.parameters import K
from daemon.kademlia.region import MAX_LOOKUPS, Region, allocate
from daemon.libp2p.peer_info import PeerInfo
from tests.daemon.kademlia.peers import many


def nearest(infos: list[PeerInfo], key: bytes) -> list[PeerInfo]:
    return sorted(infos, key=lambda info: position(info.id.raw) ^ position(key))[:K]


def explored(infos: list[PeerInfo], key: bytes, seed: int = 1) -> tuple[Region, int]:
    """Explore the region of a key among peers; return it and the number of lookups that took."""
    region, lookups = Region(key, nearest(infos, key), len(infos), Random(seed)), 1
    while (target := region.next_target()) is not None:
        region.explored(target, nearest(infos, target))
        lookups += 1
    return region, lookups


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(0, 10**6), st.integers())
def test_every_key_in_a_region_goes_to_exactly_its_nearest_peers(count: int, number: int, seed: int):
    infos, key = many(count), content_key(f"{number}")
    region, _ = explored(infos, key, seed)
    inside = [other for index in range(200) if (other := content_key(f"other {index}")) in region]
    allocated = allocate([key, *inside], region.peers.values())
    for one in [key, *inside]:
        holders = {raw for raw, assigned in allocated.items() if one in assigned}
        assert holders == {info.id.raw for info in nearest(infos, one)}


def test_in_a_network_of_up_to_k_peers_the_region_is_everything_and_all_keys_go_to_all():
    """go-libp2p-kad-dht lost keys when all peers were in one half of the space (#1263)."""
    crowded = [info for info in many(100) if position(info.id.raw) >> 255 == 0][: K - 1]
    region, lookups = explored(crowded, content_key("far" if position(b"far") >> 255 else "away"))
    assert (region.prefix, region.length, lookups) == (0, 0, 1)
    keys = [content_key(f"{number}") for number in range(50)]
    assert allocate(keys, region.peers.values()) == {info.id.raw: keys for info in crowded}


def test_a_region_is_no_larger_than_what_is_covered_by_those_of_the_nearest_who_have_answered():
    infos, key = many(400), content_key("a")
    found = nearest(infos, key)[: K - 3]
    region = Region(key, found, len(infos), Random(1))
    others = [other for index in range(2000) if (other := content_key(f"other {index}")) in region]
    assert others
    assert all(len(set(found) & set(nearest(infos, other))) >= K - 6 for other in others)
    assert Region(key, [], len(infos), Random(1)).next_target() is None


def test_a_region_takes_few_lookups():
    infos = many(400)
    counts = [explored(infos, content_key(f"{number}"))[1] for number in range(60)]
    assert sum(counts) / len(counts) < 5
    assert max(counts) <= MAX_LOOKUPS


def test_peers_that_crowd_around_a_key_do_not_make_it_endless():
    """Peers whose positions share more bits with the key than keys can be made for."""
    key = content_key("victim")
    target = position(key)
    crowd = sorted(many(30_000), key=lambda info: position(info.id.raw) ^ target)[: 4 * K]
    region, lookups = explored(crowd, key)
    assert lookups <= MAX_LOOKUPS
    assert set(nearest(crowd, key)) <= set(region.peers.values())


def test_without_peers_nothing_is_allocated():
    assert allocate([content_key("a")], explored([], content_key("a"))[0].peers.values()) == {}
