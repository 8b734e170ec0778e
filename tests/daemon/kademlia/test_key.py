"""Positions are those of go-libp2p-kbucket: whoever disagrees looks in the wrong place."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.kademlia.key import MAX_PREFIX, common_prefix, content_key, key_under, position
from daemon.libp2p.identity import PeerId

positions = st.integers(0, 2**256 - 1)


def test_the_key_of_an_image_is_upstreams():
    key = content_key("docker.io/library/alpine:3.20")
    assert key.hex() == "122075be9c490b21b793193f47be0daf1e1ba283c3a002c8e84091e2c871cc49f219"


def test_the_positions_of_keys_and_peers_are_upstreams():
    key = content_key("docker.io/library/alpine:3.20")
    assert f"{position(key):064x}" == "67ba76fa932e1837dd245cf24a7f34fa68250e1bf253603b995dc53a4017c619"
    peer = PeerId.parse("12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA")
    assert f"{position(peer.raw):064x}" == "a9fb3b592b9e6cee5658eaf7de67433434163a081d97cc77e303b300c816251e"


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [(0, 0, 256), (0, 1, 255), (1 << 255, 0, 0), (0b11 << 254, 0b10 << 254, 1), (5, 4, 255)],
)
def test_positions_share_leading_bits(one: int, other: int, shared: int):
    assert common_prefix(one, other) == shared


@given(positions, positions, positions)
def test_who_shares_more_bits_is_nearer(target: int, one: int, other: int):
    if common_prefix(target, one) > common_prefix(target, other):
        assert target ^ one < target ^ other


@given(st.integers(0, 10).flatmap(lambda n: st.tuples(st.integers(0, 2**n - 1), st.just(n))), st.integers())
def test_a_key_is_made_under_any_prefix(prefix: tuple[int, int], seed: int):
    bits, length = prefix
    key = key_under(bits, length, Random(seed))
    assert position(key) >> 256 - length == bits
    assert PeerId(key).raw == key  # js-libp2p looks only for what is a multihash


def test_a_prefix_that_takes_too_long_is_refused():
    with pytest.raises(ValueError, match="15 bits"):
        key_under(0, MAX_PREFIX + 1, Random(1))
