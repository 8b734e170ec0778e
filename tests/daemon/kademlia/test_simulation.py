"""What is promised of whole clusters, in small ones; docs/router-simulation.md has the large ones."""

from __future__ import annotations

import asyncio
import math
from random import Random

import pytest

from benchmarks.simulated.clock import virtual
from benchmarks.simulated.cluster import Cluster, node_of, walk
from benchmarks.simulated.network import OVERHEAD, Conditions, peer_info, wire_size
from benchmarks.simulated.scenarios import Contents, churn, heal, success
from daemon.kademlia.key import content_key
from daemon.kademlia.message import Message, MessageType
from daemon.kademlia.parameters import PROVIDE_INTERVAL, REFRESH_INTERVAL


async def contents_of(cluster: Cluster, size: int, keys: int) -> Contents:
    """Let nodes join, and some of them provide."""
    for _ in range(size):
        cluster.join()
        await asyncio.sleep(0.02)
    await asyncio.sleep(30)
    contents = Contents(cluster)
    for port in cluster.ports[:50]:
        contents.give(port, keys)
    await asyncio.sleep(60)
    return contents


@pytest.mark.parametrize(("size", "searches"), [(20, 400), (200, 200)])
@virtual
async def test_without_churn_everything_is_found_in_few_hops(size: int, searches: int):
    async with Cluster(1, Conditions(codec=False)) as cluster:
        contents = await contents_of(cluster, size, 1)
        found = await contents.search(searches, cluster.ports[-50:], list(contents.provided))
        assert success(found) == 1
        for number in range(30):
            port, key = cluster.random.choice(cluster.ports), content_key(f"nowhere {number}")
            walked = await walk(port, key)
            assert walked.hops <= math.ceil(math.log2(size))
            assert len(walked.nearest & cluster.nearest(key, without=port)) >= min(size, 20) - 3


@virtual
async def test_while_nodes_are_replaced_almost_everything_is_found():
    """A tenth of the nodes in each provide interval; keys of those that live."""
    async with Cluster(2, Conditions(codec=False)) as cluster:
        contents = await contents_of(cluster, 50, 2)
        for found in await churn(contents, 2, 2, 200):
            assert success(found) >= 0.99


@virtual
async def test_one_refresh_after_a_partition_has_healed_everything_is_found():
    async with Cluster(3, Conditions(codec=False)) as cluster:
        contents = await contents_of(cluster, 40, 2)
        minutes = math.ceil(1.1 * REFRESH_INTERVAL / 60)
        before, *_, after = await heal(contents, 2 * PROVIDE_INTERVAL, minutes, 60)
        assert success(before) == 0
        assert success(after) == 1


@virtual
async def test_load_is_spread_over_nodes_and_time():
    async with Cluster(4, Conditions(codec=False)) as cluster:
        await contents_of(cluster, 40, 16)
        records = [len(node_of(port).store) for port in cluster.ports]
        assert max(records) < 3 * sum(records) / len(records)
        handled = []
        for _ in range(15):
            before = sum(port.traffic.records for port in cluster.ports)
            await asyncio.sleep(PROVIDE_INTERVAL / 15)
            handled.append(sum(port.traffic.records for port in cluster.ports) - before)
        assert max(handled) < 3 * sum(handled) / len(handled)


def test_messages_count_as_many_bytes_as_they_have_when_encoded():
    peers = tuple(peer_info(number, Random(number)) for number in (0, 1, 9_999))
    for message in (
        Message(MessageType.PING),
        Message(MessageType.FIND_NODE, content_key("a"), peers),
        Message(MessageType.GET_PROVIDERS, content_key("a"), peers, peers[:2]),
    ):
        assert wire_size(message) == OVERHEAD + len(message.encode())
