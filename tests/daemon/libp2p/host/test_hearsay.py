"""Which addresses are believed that others name."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.libp2p.host.hearsay import Hearsay
from daemon.libp2p.multiaddr import Multiaddr


def hearsay(*own: str) -> Hearsay:
    return Hearsay(map(Multiaddr.parse, own))


NODE = hearsay("/ip4/10.0.0.1/tcp/5001", "/ip6/fd00::1/tcp/5001")
ONE_MACHINE = hearsay("/ip4/127.0.0.1/tcp/5001")


@pytest.mark.parametrize(
    "address",
    [
        "/ip4/10.0.0.2/tcp/5001",
        "/ip4/203.0.113.7/tcp/1",
        "/ip6/fd00::2/tcp/5001",
        "/ip6/2001:db8::2/tcp/5001/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
        "/ip6/::ffff:10.0.0.2/tcp/5001",
    ],
)
def test_another_nodes_address_is_believed(address: str) -> None:
    assert NODE(Multiaddr.parse(address))


@pytest.mark.parametrize(
    "address",
    [
        "/ip4/127.0.0.1/tcp/22",
        "/ip4/127.9.9.9/tcp/5001",
        "/ip6/::1/tcp/9090",
        "/ip6/::ffff:127.0.0.1/tcp/22",
        "/ip4/0.0.0.0/tcp/5000",
        "/ip6/::/tcp/5000",
        "/ip6/::ffff:0.0.0.0/tcp/5000",
        "/ip4/169.254.169.254/tcp/80",
        "/ip6/::ffff:169.254.169.254/tcp/80",
        "/ip6/fe80::1/tcp/80",
        "/ip6zone/eth0/ip6/fe80::1/tcp/80",
        "/ip4/224.0.0.1/tcp/5",
        "/ip6/ff02::1/tcp/5",
    ],
)
def test_what_means_this_machine_or_its_surroundings_is_not(address: str) -> None:
    assert not NODE(Multiaddr.parse(address))


@pytest.mark.parametrize(
    "address",
    [
        "/ip4/10.0.0.1/tcp/10250",
        "/ip6/fd00::1/tcp/22",
        "/ip6/::ffff:10.0.0.1/tcp/22",
        "/ip6zone/eth0/ip6/fd00::1/tcp/22",
    ],
)
def test_other_ports_of_this_nodes_own_addresses_are_not(address: str) -> None:
    assert not NODE(Multiaddr.parse(address))


def test_others_may_have_the_address_of_this_nodes_nat_card() -> None:
    assert NODE(Multiaddr.parse("/ip4/10.0.0.1/tcp/5001"))


@pytest.mark.parametrize("address", ["/dns4/metadata.internal/tcp/80", "/dnsaddr/localhost", "/tcp/5001"])
def test_names_are_not_looked_up_for_others(address: str) -> None:
    assert not NODE(Multiaddr.parse(address))


def test_nodes_that_have_only_loopback_are_all_on_one_machine() -> None:
    assert ONE_MACHINE(Multiaddr.parse("/ip4/127.0.0.1/tcp/5002"))
    assert ONE_MACHINE(Multiaddr.parse("/ip6/::1/tcp/5001"))
    assert ONE_MACHINE(Multiaddr.parse("/ip4/10.0.0.2/tcp/5001"))
    assert not ONE_MACHINE(Multiaddr.parse("/ip4/0.0.0.0/tcp/5002"))
    assert not ONE_MACHINE(Multiaddr.parse("/ip4/169.254.169.254/tcp/80"))


def test_who_has_other_addresses_as_well_is_not_on_one_machine() -> None:
    both = hearsay("/ip4/127.0.0.1/tcp/5001", "/ip4/10.0.0.1/tcp/5001")
    assert not both(Multiaddr.parse("/ip4/127.0.0.1/tcp/5002"))


def test_who_has_no_address_at_all_believes_no_loopback() -> None:
    assert not hearsay()(Multiaddr.parse("/ip4/127.0.0.1/tcp/5002"))
    assert hearsay()(Multiaddr.parse("/ip4/10.0.0.2/tcp/5001"))


@given(st.one_of(st.ip_addresses(network="127.0.0.0/8"), st.ip_addresses(network="::ffff:127.0.0.0/104")))
def test_no_way_of_writing_loopback_gets_past(ip: object) -> None:
    assert not NODE(Multiaddr.tcp(ip_address(str(ip)), 5001))


@pytest.mark.parametrize(
    "address",
    [
        "/ip4/10.0.0.2",
        "/ip4/10.0.0.2/tcp/0",
        "/ip4/10.0.0.2/udp/5001/quic-v1",
        f"/ip4/10.0.0.2/tcp/5001/dns4/{'a' * 200}",
    ],
)
def test_only_where_a_node_can_be_dialled(address: str) -> None:
    assert not NODE(Multiaddr.parse(address))
