"""Whole nodes on a simulated network, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.simulated.clock import virtual
from benchmarks.simulated.cluster import Cluster, find, node_of
from benchmarks.simulated.network import TIMEOUT, Conditions
from daemon.kademlia.key import content_key
from daemon.kademlia.message import Message, MessageType
from daemon.kademlia.parameters import ALPHA, BETA, PROVIDE_INTERVAL, RECORD_VALIDITY, K
from daemon.libp2p.errors import RemoteProtocolError
from daemon.libp2p.peer_info import PeerInfo
from tests.daemon.kademlia.clusters import KEY, KEYS, SETTLED, found, grown, holders, restart


@virtual
async def test_nodes_that_are_told_of_one_another_come_to_know_all():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, 15)
        assert all(len(node_of(port).table) == 14 for port in ports)


@virtual
async def test_a_node_alone_is_not_connected_and_finds_nothing():
    async with Cluster(1) as cluster:
        port = cluster.join()
        await asyncio.sleep(1000)
        assert not node_of(port).connected
        assert await found(port, KEY) == []


@virtual
async def test_a_search_that_is_left_asks_nobody_else():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, 60)
        search = node_of(ports[3]).find_providers(KEY, 3, lambda _: None)
        asked = ports[3].traffic.requests
        search.cancel()
        await asyncio.sleep(10)
        assert ports[3].traffic.requests - asked <= ALPHA


@virtual
async def test_a_node_that_does_not_run_finds_nothing():
    async with Cluster(1) as cluster:
        port = (await grown(cluster, 2))[0]
        node = node_of(port)
    assert len(node.table) == 1
    assert await asyncio.wait_for(node.find_providers(KEY, 3, lambda _: None), 1) is None


@virtual
async def test_what_one_node_provides_others_find_with_its_addresses():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, 40)
        node_of(ports[7]).provide([KEY])
        await asyncio.sleep(1)
        for port in ports[:7] + ports[8:]:
            assert await found(port, KEY) == [ports[7].info]
        assert await found(ports[7], KEY) == []


@virtual
async def test_up_to_the_number_wanted_are_found_each_once():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, 40)
        for port in ports[:6]:
            node_of(port).provide([KEY])
        await asyncio.sleep(1)
        providers = await found(ports[30], KEY, 4)
        assert len({provider.id for provider in providers}) == 4
        assert set(providers) <= {port.info for port in ports[:6]}
        assert len(await found(ports[30], KEY, 50)) == 6


@virtual
async def test_keys_that_were_given_before_anybody_was_known_are_provided_on_joining():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, 5)
        early = cluster.make()
        node_of(early).provide(KEYS)
        cluster.run(early)
        await asyncio.sleep(100)
        node_of(early).found(ports[0].info)
        await asyncio.sleep(5)
        assert all(len(holders(ports, key)) == 5 for key in KEYS)


@virtual
async def test_a_search_that_the_nearest_can_end_asks_nobody_else():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, 60)
        node_of(ports[3]).provide([KEY])
        await asyncio.sleep(1)
        stranger = next(port for port in ports if port not in holders(ports, KEY) and port is not ports[3])
        search = await find(stranger, KEY, 1)
        assert (search.providers, search.requests) == (1, BETA)


@virtual
async def test_what_nobody_provides_is_asked_of_each_peer_once():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, 12)
        await asyncio.sleep(SETTLED)
        search = await find(ports[0], KEY)
        assert (search.providers, search.requests) == (0, 11)


@virtual
async def test_nearest_peers_that_were_looked_for_lately_are_not_looked_for_again():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, 50)
        node_of(ports[0]).provide(KEYS[:30])
        await asyncio.sleep(5)
        before, records = ports[0].traffic.requests, sum(port.traffic.records for port in ports)
        node_of(ports[0]).provide(KEYS[30:])
        await asyncio.sleep(5)
        sent = sum(port.traffic.records for port in ports) - records
        assert sent >= 30 * K
        assert ports[0].traffic.requests - before == sent
        assert all(len(holders(ports, key)) == K for key in KEYS)


@virtual
async def test_what_is_provided_stays_found():
    async with Cluster(1, Conditions(codec=False)) as cluster:
        ports = await grown(cluster, 30)
        node_of(ports[0]).provide(KEYS)
        for _ in range(5):
            await asyncio.sleep(10 * 60)
            assert all(len(holders(ports, key)) >= K for key in KEYS)


@virtual
async def test_what_is_withdrawn_is_told_by_the_node_no_more_and_forgotten_by_others():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, 30)
        node = node_of(ports[0])
        node.provide(KEYS)
        await asyncio.sleep(PROVIDE_INTERVAL)
        node.withdraw(KEYS[:30])
        answer = node.answer(ports[1].info.id, ports[1].address, Message(MessageType.GET_PROVIDERS, KEYS[0]))
        assert answer is not None
        assert answer.providers == ()
        await asyncio.sleep(RECORD_VALIDITY + 60)
        assert not any(holders(ports, key) for key in KEYS[:30])
        assert all(holders(ports, key) for key in KEYS[30:])


@virtual
async def test_a_node_that_was_cut_off_provides_everything_again_soon_after():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, 30)
        node_of(ports[0]).provide(KEYS)
        await asyncio.sleep(1)
        ports[0].side = 1
        await asyncio.sleep(RECORD_VALIDITY + 60)
        assert not node_of(ports[0]).connected
        assert not any(holders(ports, key) for key in KEYS)
        ports[0].side = 0
        await asyncio.sleep(11 * 60)
        assert node_of(ports[0]).connected
        assert all(len(holders(ports, key)) >= K for key in KEYS)


@virtual
async def test_when_all_nodes_are_started_anew_one_after_another_nothing_is_lost():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, len(KEYS))
        for port, key in zip(ports, KEYS, strict=True):
            node_of(port).provide([key])
        await asyncio.sleep(5)
        for port, key in zip(ports, KEYS, strict=True):
            restart(cluster, port)
            node_of(port).provide([key])
            await asyncio.sleep(2)
        for port, key in zip(ports[:-1], KEYS, strict=False):
            assert await found(ports[-1], key) == [port.info]


@virtual
async def test_keys_added_while_cut_off_are_provided_on_return():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, 10)
        ports[0].side = 1
        await asyncio.sleep(30 * 60)
        node_of(ports[0]).provide(KEYS)
        await asyncio.sleep(60)
        ports[0].side = 0
        await asyncio.sleep(11 * 60)
        assert all(len(holders(ports, key)) == 9 for key in KEYS)


@virtual
async def test_a_cluster_whose_nodes_all_start_at_once_finds_everything():
    """Each provides while it knows but a few others, and again when it knows many more."""
    async with Cluster(1) as cluster:
        ports = [cluster.join() for _ in range(60)]
        for port, key in zip(ports, KEYS, strict=False):
            node_of(port).provide([key])
        await asyncio.sleep(120)
        for port, key in zip(ports, KEYS, strict=False):
            assert len(cluster.nearest(key) & {other.info.id.raw for other in holders(ports, key)}) >= K - 2
            assert await found(ports[0], key) == ([port.info] if port is not ports[0] else [])


@virtual
async def test_whoever_is_told_of_a_node_that_knows_few_yet_asks_it_again_soon():
    """When a cluster is started as a whole, the first node comes to know the others a little later."""
    async with Cluster(1) as cluster:
        first, port, *others = [cluster.make() for _ in range(42)]
        for quiet in (first, *others):
            quiet.listens = False
        for other in others[:8]:
            node_of(first).search.answered(other.info)
        cluster.run(port)
        node_of(port).found(first.info)
        await asyncio.sleep(0.5)
        assert len(node_of(port).table) == 9
        for other in others[8:]:
            node_of(first).search.answered(other.info)
        await asyncio.sleep(5)
        assert len(node_of(port).table) > K


@virtual
async def test_lost_messages_lose_no_keys():
    async with Cluster(1, Conditions(loss=0.3)) as cluster:
        ports = await grown(cluster, 30)
        node_of(ports[0]).provide(KEYS)
        await asyncio.sleep(5 * 60)
        assert all(holders(ports, key) for key in KEYS)


@virtual
async def test_a_node_without_addresses_provides_as_soon_as_it_has_some():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, 5)
        info = ports[0].info
        ports[0].info = PeerInfo(info.id, ())
        node_of(ports[0]).provide([KEY])
        await asyncio.sleep(10)
        assert holders(ports, KEY) == []
        ports[0].info = info
        await asyncio.sleep(60)
        assert len(holders(ports, KEY)) == 4


@virtual
async def test_a_peer_that_stops_answering_leaves_the_table_and_comes_back():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, 10)
        ports[5].side = 1
        await found(ports[0], KEY)
        await asyncio.sleep(TIMEOUT)
        assert node_of(ports[0]).table.get(ports[5].info.id) is None
        ports[5].side = 0
        await asyncio.sleep(60)
        assert node_of(ports[0]).table.get(ports[5].info.id) == ports[5].info


@virtual
async def test_silent_peers_are_found_out_by_refreshing():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, 10)
        cluster.leave(ports[5])
        await asyncio.sleep(25 * 60)
        assert all(node_of(port).table.get(ports[5].info.id) is None for port in cluster.ports)


@virtual
async def test_a_newcomer_takes_the_place_of_a_peer_that_is_found_dead():
    async with Cluster(1) as cluster:
        ports = [cluster.make() for _ in range(120)]
        node = node_of(ports[0])
        bucket = [port for port in ports[1:] if (node_of(port).table.position ^ node.table.position) >> 255]
        for port in bucket[:K]:
            node.table.add(port.info, 0)
        await asyncio.sleep(3600)
        cluster.leave(bucket[0])
        cluster.run(ports[0])
        node.found(bucket[K].info)
        await asyncio.sleep(30)
        assert node.table.get(bucket[0].info.id) is None
        assert node.table.get(bucket[K].info.id) == bucket[K].info
        assert node.table.get(bucket[1].info.id) == bucket[1].info


@virtual
async def test_a_peer_that_no_longer_speaks_the_protocol_is_not_asked():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, 3)
        node_of(ports[0]).gone(ports[1].info.id)
        assert node_of(ports[0]).table.get(ports[1].info.id) is None


@virtual
async def test_new_addresses_of_a_known_peer_are_taken():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, 3)
        moved = PeerInfo(ports[1].info.id, ports[2].info.addresses)
        node_of(ports[0]).found(moved)
        assert node_of(ports[0]).table.get(moved.id) == moved


@virtual
async def test_a_search_ends_when_the_node_is_stopped():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, 5)
        for port in ports[1:]:
            port.side = 1
        search = asyncio.create_task(found(ports[0], KEY))
        await asyncio.sleep(1)
        cluster.leave(ports[0])
        assert await search == []


@virtual
async def test_a_search_that_is_cancelled_leaves_the_node_working():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, 5)
        node_of(ports[1]).provide([KEY])
        await asyncio.sleep(1)
        search = asyncio.create_task(found(ports[0], content_key("missing")))
        await asyncio.sleep(0)
        search.cancel()
        with pytest.raises(asyncio.CancelledError):
            await search
        assert await found(ports[0], KEY) == [ports[1].info]


@virtual
async def test_what_is_not_served_is_refused():
    async with Cluster(1) as cluster:
        port = cluster.make()
        with pytest.raises(RemoteProtocolError):
            node_of(port).answer(port.info.id, port.address, Message(MessageType.GET_VALUE, KEY))
