"""Networks of up to K nodes, in which each is nearest to every key."""

from __future__ import annotations

import asyncio

from benchmarks.simulated.clock import virtual
from benchmarks.simulated.cluster import Cluster, find, node_of
from daemon.kademlia.parameters import K
from tests.daemon.kademlia.clusters import KEY, KEYS, SETTLED, disconnect, found, grown, holders, restart


@virtual
async def test_among_up_to_k_nodes_every_node_has_every_record():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, K)
        for port, key in zip(ports, KEYS, strict=False):
            node_of(port).provide([key])
        await asyncio.sleep(1)
        for port, key in zip(ports, KEYS, strict=False):
            assert holders(ports, key) == [other for other in ports if other is not port]


@virtual
async def test_among_up_to_k_nodes_that_have_settled_a_search_takes_no_round_trip():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, K)
        node_of(ports[3]).provide([KEY])
        await asyncio.sleep(SETTLED)
        for port in ports[:3] + ports[4:]:
            search = await find(port, KEY)
            assert (search.providers, search.first, search.requests) == (1, 0, 0)


@virtual
async def test_a_node_that_has_just_joined_asks_those_that_have_the_records():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, 10)
        node_of(ports[3]).provide([KEY])
        await asyncio.sleep(1)
        joined = cluster.join()
        await asyncio.sleep(1)
        assert await found(joined, KEY) == [ports[3].info]
        assert joined.traffic.requests > 0


@virtual
async def test_when_fewer_than_k_nodes_start_at_once_every_node_soon_has_every_record():
    async with Cluster(1) as cluster:
        ports = [cluster.join() for _ in range(15)]
        for port, key in zip(ports, KEYS, strict=False):
            node_of(port).provide([key])
        await asyncio.sleep(5)
        for port, key in zip(ports, KEYS, strict=False):
            assert holders(ports, key) == [other for other in ports if other is not port]


@virtual
async def test_who_comes_later_among_up_to_k_nodes_is_told_everything_at_once():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, K - 1)
        for port, key in zip(ports, KEYS, strict=False):
            node_of(port).provide([key])
        node_of(ports[0]).provide(KEYS[K:])
        await asyncio.sleep(1)
        joined = cluster.join()
        await asyncio.sleep(3)
        assert [key for key in KEYS if joined not in holders(cluster.ports, key)] == [KEYS[K - 1]]
        search = await find(joined, KEYS[K], 1)
        assert (search.providers, search.first, search.requests) == (1, 0, 0)


@virtual
async def test_who_was_away_for_a_moment_among_up_to_k_nodes_is_told_what_it_missed():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, 10)
        ports[3].side = 1
        await asyncio.sleep(1)
        node_of(ports[0]).provide(KEYS)
        await asyncio.sleep(20)
        assert ports[3] not in holders(ports, KEYS[0])
        ports[3].side = 0
        await asyncio.sleep(60)
        assert all(ports[3] in holders(ports, key) for key in KEYS)


@virtual
async def test_who_is_started_anew_before_anybody_misses_it_is_told_everything_at_once():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, 10)
        node_of(ports[0]).provide(KEYS)
        await asyncio.sleep(SETTLED)
        restart(cluster, ports[3])
        await asyncio.sleep(5)
        assert all(ports[3] in holders(ports, key) for key in KEYS)


@virtual
async def test_who_was_cut_off_does_not_take_what_it_knows_for_all():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, 10)
        node_of(ports[0]).provide([KEY])
        await asyncio.sleep(SETTLED)
        ports[3].side = 1
        disconnect(cluster, ports[3])
        node_of(ports[1]).provide([KEY])
        await asyncio.sleep(60)
        ports[3].side = 0
        assert node_of(ports[3]).known_providers(KEY) == [ports[0].info]
        assert ports[1].info in await found(ports[3], KEY)


@virtual
async def test_who_comes_and_goes_while_it_is_told_everything_is_not_told_twice_at_a_time():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, 10)
        node_of(ports[0]).provide(KEYS)
        await asyncio.sleep(SETTLED)
        table, peer = node_of(ports[0]).table, ports[3].info
        told = ports[3].traffic.records
        for _ in range(5):
            table.remove(peer.id)
            node_of(ports[0]).search.answered(peer)
        await asyncio.sleep(5)
        assert len(KEYS) <= ports[3].traffic.records - told < 2 * len(KEYS)
