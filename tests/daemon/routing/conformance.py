"""What every router must do. A router's test module derives a class from `RouterConformance`."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from daemon.routing.base import Peer, Router

DIGEST = "sha256:" + "ab" * 32
TAG = "docker.io/library/alpine:3.20"
PORT = 15500


async def find(router: Router, key: str, count: int = 20) -> list[Peer]:
    async with asyncio.timeout(10):
        return [peer async for peer in router.lookup(key, count)]


class RouterConformance:
    """The suite; `network` is all that an implementation has to say about itself."""

    def network(self, count: int) -> AbstractAsyncContextManager[Sequence[Router]]:
        """Run ``count`` routers on loopback that know each other, with the registry port `PORT`."""
        raise NotImplementedError

    async def expire(self) -> None:
        """Wait, on whatever clock it is, until nobody remembers what was withdrawn."""

    async def test_a_key_that_nobody_advertises_is_found_nowhere(self) -> None:
        async with self.network(3) as (one, *_):
            assert await find(one, DIGEST) == []

    @pytest.mark.parametrize("key", [DIGEST, TAG, "localhost:5000/ä:latest", "x" * 500])
    async def test_others_find_what_a_node_advertises(self, key: str) -> None:
        async with self.network(3) as (one, two, three):
            await one.advertise([key])
            for other in (two, three):
                (found,) = await find(other, key)
                assert found.registry_port == PORT
                assert found.addresses
                assert all(isinstance(item, IPv4Address | IPv6Address) for item in found.addresses)

    async def test_a_node_never_finds_itself(self) -> None:
        async with self.network(2) as (one, two):
            await one.advertise([DIGEST])
            assert await find(one, DIGEST) == []
            await two.advertise([DIGEST])
            (found,) = await find(one, DIGEST)
            (itself,) = await find(two, DIGEST)
            assert (found.id, itself.id) == (two.id, one.id)
            assert one.id != two.id

    async def test_all_holders_are_found_each_once(self) -> None:
        async with self.network(4) as (one, *others):
            for other in others:
                await other.advertise([DIGEST])
                await other.advertise([DIGEST])
            found = await find(one, DIGEST)
            assert len({peer.id for peer in found}) == len(found) == len(others)

    async def test_no_more_are_found_than_asked_for(self) -> None:
        async with self.network(4) as (one, *others):
            for other in others:
                await other.advertise([DIGEST])
            assert len(await find(one, DIGEST, 2)) == 2
            assert len(await find(one, DIGEST, 1)) == 1

    async def test_keys_are_told_apart(self) -> None:
        async with self.network(2) as (one, two):
            await one.advertise([DIGEST])
            assert await find(two, TAG) == []
            assert await find(two, DIGEST[:-1]) == []
            assert await find(two, DIGEST.upper()) == []

    async def test_hundreds_of_keys_at_once(self) -> None:
        async with self.network(2) as (one, two):
            keys = [f"sha256:{number:064x}" for number in range(300)]
            await one.advertise(iter(keys))
            for key in keys[::50]:
                assert len(await find(two, key)) == 1

    async def test_what_was_withdrawn_is_forgotten(self) -> None:
        async with self.network(3) as (one, two, three):
            await one.advertise([DIGEST, TAG])
            await two.advertise([DIGEST])
            await one.withdraw([DIGEST])
            await self.expire()
            (left,) = await find(three, DIGEST)
            (kept,) = await find(three, TAG)
            assert left.id != kept.id

    async def test_what_was_withdrawn_can_be_advertised_again(self) -> None:
        async with self.network(2) as (one, two):
            await one.advertise([DIGEST])
            await one.withdraw([DIGEST])
            await self.expire()
            await one.advertise([DIGEST])
            assert len(await find(two, DIGEST)) == 1

    async def test_withdrawing_what_was_never_advertised_does_no_harm(self) -> None:
        async with self.network(2) as (one, two):
            await two.advertise([DIGEST])
            await one.withdraw([DIGEST, TAG])
            assert len(await find(one, DIGEST)) == 1

    async def test_a_lookup_can_be_left_in_the_middle(self) -> None:
        async with self.network(3) as (one, two, three):
            await two.advertise([DIGEST])
            await three.advertise([DIGEST])
            lookup = one.lookup(DIGEST, 2)
            assert inspect.isasyncgen(lookup), "it must be possible to close a lookup"
            async with aclosing(lookup):
                async for _ in lookup:
                    break
            assert len(await find(one, DIGEST)) == 2

    async def test_a_node_knows_the_others_but_does_not_count_itself(self) -> None:
        async with self.network(3) as routers:
            known = [{peer.id for peer in await router.peers()} for router in routers]
            everybody = set().union(*known)
            assert len(everybody) == 3
            assert sorted(len(ids) for ids in known) == [2, 2, 2]
            assert set.intersection(*known) == set()

    async def test_connected_nodes_are_ready(self) -> None:
        async with self.network(2) as (one, two):
            assert await one.ready()
            assert await two.ready()

    async def test_a_lonely_node_is_not_ready(self) -> None:
        async with self.network(1) as (one,):
            assert not await one.ready()
            assert await one.peers() == []

    async def test_a_lonely_node_may_advertise_and_look_up(self) -> None:
        async with self.network(1) as (one,):
            await one.advertise([DIGEST])
            assert await find(one, DIGEST) == []
            assert await find(one, TAG) == []

    async def test_addresses_are_multiaddrs(self) -> None:
        async with self.network(1) as (one,):
            assert one.addresses()
            assert all(text.startswith(("/ip4/", "/ip6/")) for text in one.addresses())
