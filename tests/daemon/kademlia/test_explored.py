"""Whose keys' peers are looked for anew, and whose are remembered."""

from __future__ import annotations

from random import Random

from daemon.kademlia.explored import VALIDITY, ExploredRegions
from daemon.kademlia.key import content_key, position
from daemon.kademlia.parameters import K
from daemon.kademlia.region import Region
from tests.daemon.kademlia.peers import many

KEYS = [content_key(f"{number}") for number in range(40)]


def region_of(key: bytes, peers: int = 60) -> Region:
    nearest = sorted(many(peers), key=lambda info: position(info.id.raw) ^ position(key))[:K]
    return Region(key, nearest, len(nearest), Random(1))


def remembered(region: Region, known: int = 60, now: float = 0) -> ExploredRegions:
    regions = ExploredRegions()
    regions.add(region, known, now)
    return regions


def test_keys_of_a_region_find_it_and_others_do_not():
    region = region_of(KEYS[0])
    regions = remembered(region)
    inside = {key for key in KEYS if key in region}
    assert 1 < len(inside) < len(KEYS)
    assert {key for key in KEYS if regions.find(key, 60, 1) is region} == inside


def test_after_some_minutes_the_peers_are_looked_for_again():
    regions = remembered(region_of(KEYS[0]), now=100)
    assert regions.find(KEYS[0], 60, 99 + VALIDITY)
    assert regions.find(KEYS[0], 60, 100 + VALIDITY) is None


def test_when_more_peers_are_known_than_then_others_may_be_nearest():
    assert remembered(region_of(KEYS[0])).find(KEYS[0], 61, 1) is None
    assert remembered(region_of(KEYS[0])).find(KEYS[0], 59, 1)


def test_a_region_whose_peers_have_all_failed_is_forgotten():
    region = region_of(KEYS[0])
    regions = remembered(region)
    region.peers.clear()
    assert regions.find(KEYS[0], 60, 1) is None


def test_nothing_is_remembered_of_another_network():
    regions = remembered(region_of(KEYS[0]))
    regions.clear()
    assert regions.find(KEYS[0], 60, 1) is None
