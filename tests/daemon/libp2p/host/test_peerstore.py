"""What is known of peers."""

from __future__ import annotations

from daemon.libp2p.host.peerstore import MAX_ADDRESSES, MAX_PEERS, VALIDITY, PeerStore
from daemon.libp2p.identity import PeerId
from daemon.libp2p.multiaddr import Multiaddr


def peer(number: int) -> PeerId:
    return PeerId(b"\x12\x20" + number.to_bytes(32))


def address(number: int) -> Multiaddr:
    return Multiaddr.parse(f"/ip4/10.0.{number // 256}.{number % 256}/tcp/5001")


def test_an_address_is_believed_for_an_hour() -> None:
    store = PeerStore()
    store.add(peer(1), [address(1)], now=10)
    assert store.addresses(peer(1), 10 + VALIDITY - 1) == (address(1),)
    assert store.addresses(peer(1), 10 + VALIDITY) == ()
    assert store.addresses(peer(2), 10) == ()


def test_hearing_of_it_again_renews_it() -> None:
    store = PeerStore()
    store.add(peer(1), [address(1), address(2)], now=0)
    store.add(peer(1), [address(1)], now=VALIDITY - 1)
    assert store.addresses(peer(1), VALIDITY) == (address(1),)
    store.renew(peer(1), VALIDITY + 1)
    assert store.addresses(peer(1), 2 * VALIDITY) == (address(1),)


def test_what_expired_is_not_renewed() -> None:
    store = PeerStore()
    store.add(peer(1), [address(1)], now=0)
    store.renew(peer(1), VALIDITY)
    assert store.addresses(peer(1), VALIDITY) == ()


def test_what_a_peer_says_of_itself_replaces_what_was_known() -> None:
    store = PeerStore()
    store.add(peer(1), [address(1), address(2)], now=0)
    store.replace(peer(1), [address(3)], now=0)
    assert store.addresses(peer(1), 0) == (address(3),)


def test_of_too_many_addresses_the_last_are_kept() -> None:
    store = PeerStore()
    store.add(peer(1), map(address, range(100)), now=0)
    assert store.addresses(peer(1), 0) == tuple(map(address, range(100 - MAX_ADDRESSES, 100)))


def test_of_too_many_peers_the_last_are_kept() -> None:
    store = PeerStore()
    for number in range(MAX_PEERS + 10):
        store.add(peer(number), [address(1)], now=0)
        store.renew(peer(0), 0)
    assert len(store) == MAX_PEERS
    assert store.addresses(peer(0), 0)
    assert not store.addresses(peer(1), 0)
    assert store.addresses(peer(MAX_PEERS + 9), 0)
