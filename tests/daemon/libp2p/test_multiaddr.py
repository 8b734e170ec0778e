"""Addresses, by the vectors of multiformats/multiaddr and go-multiaddr as far as the protocols are known."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.libp2p import multiaddr
from daemon.libp2p.identity import PeerId
from daemon.libp2p.multiaddr import InvalidMultiaddrError, Multiaddr, known_addresses

ID = "12D3KooWCryG7Mon9orvQxcS1rYZjotPgpwoJNHHKcLLfE4Hf5mV"
OTHER_ID = "QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC"
QUIC_DRAFT = bytes.fromhex("040a000001910204d2cc03")  # /ip4/10.0.0.1/udp/1234/quic, a protocol not known here


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("/ip4/192.0.2.42/tcp/443", "04c000022a0601bb"),
        ("/ip4/127.0.0.1/udp/1234", "047f000001910204d2"),
        ("/ip4/127.0.0.1/tcp/4321", "047f0000010610e1"),
        ("/ip4/127.0.0.1/udp/1234/ip4/127.0.0.1/tcp/4321", "047f000001910204d2047f0000010610e1"),
        ("/ip6/::1/udp/1234/quic-v1", "2900000000000000000000000000000001910204d2cd03"),
        ("/ip6zone/eth0/ip6/fe80::1", "2a046574683029fe800000000000000000000000000001"),
        ("/dns4/example.com", "360b" + b"example.com".hex()),
        (f"/p2p/{ID}", "a50326" + PeerId.parse(ID).raw.hex()),
    ],
)
def test_text_and_bytes(text: str, raw: str) -> None:
    assert Multiaddr.parse(text).raw.hex() == raw
    assert str(Multiaddr(bytes.fromhex(raw))) == text


@pytest.mark.parametrize(
    "text",
    [
        "/ip4/1.2.3.4",
        "/ip4/0.0.0.0",
        "/ip6/::1",
        "/ip6/2601:9:4f81:9700:803e:ca65:66e8:c21",
        "/ip6/2601:9:4f81:9700:803e:ca65:66e8:c21/udp/1234/quic-v1",
        "/ip6zone/x/ip6/fe80::1",
        "/ip6zone/x/ip6/fe80::1/udp/1234/quic-v1",
        "/ip6/::ffff:192.0.2.1/tcp/80",
        "/udp/0",
        "/tcp/0",
        "/udp/65535",
        "/tcp/65535",
        f"/p2p/{OTHER_ID}/tcp/1234",
        f"/ip4/127.0.0.1/p2p/{OTHER_ID}/tcp/1234",
        "/dns/node-1.spegel.svc.cluster.local/tcp/5001",
        "/dns6/a/tcp/1",
        "/dnsaddr/_dnsaddr.bootstrap.libp2p.io",
    ],
)
def test_text_comes_back(text: str) -> None:
    assert str(Multiaddr(Multiaddr.parse(text).raw)) == text


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("/ip4/127.0.0.1/tcp/1234/", "/ip4/127.0.0.1/tcp/1234"),
        ("/ip4/127.0.0.1/tcp/01234", "/ip4/127.0.0.1/tcp/1234"),
        ("/ip6/2001:DB8:0:0::0001/tcp/1", "/ip6/2001:db8::1/tcp/1"),
        (f"/ipfs/{ID}", f"/p2p/{ID}"),
        ("/p2p/bafzbeigvf25ytwc3akrijfecaotc74udrhcxzh2cx3we5qqnw5vgrei4bm", f"/p2p/{OTHER_ID}"),
    ],
)
def test_one_address_has_one_form(written: str, canonical: str) -> None:
    assert str(Multiaddr.parse(written)) == canonical
    assert Multiaddr.parse(written) == Multiaddr.parse(canonical)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "ip4/1.2.3.4",
        "//ip4/1.2.3.4",
        "/ip4",
        "/ip4/::1",
        "/ip4/010.0.0.1",
        "/ip4/fdpsofodsajfdoisa",
        "/ip6",
        "/ip6/fe80::1%eth0",
        "/ip6zone",
        "/ip6zone/",
        "/ip6zone//ip6/fe80::1",
        "/ip6zone/a%b/ip6/fe80::1",
        "/udp",
        "/tcp",
        "/udp/65536",
        "/tcp/65536",
        "/quic-v1/65536",
        "/ip4/127.0.0.1/tcp/jfodsajfidosajfoidsa",
        "/ip4/127.0.0.1/tcp",
        "/ip4/1.2.3.4/tcp/-1",
        "/ip4/1.2.3.4/tcp/+1",
        "/ip4/1.2.3.4/tcp/1_0",
        "/ip4/1.2.3.4/tcp/٣",
        "/ip4/127.0.0.1/p2p",
        "/ip4/127.0.0.1/p2p/tcp",
        "/p2p/QmxoHT6iViN5xAjoz1VZ553cL31U9F94ht3QvWR1FrEbZY",
        "/dns4/",
        "/dns4/a b",
        "/dns4/ä",
        "/dns4/" + "a" * 254,
        "/ip4/1.2.3.4/tcp/80/ws",
        "/ip4/1.2.3.4" * 200,
    ],
)
def test_malformed_and_unknown_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidMultiaddrError):
        Multiaddr.parse(text)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x04",
        b"\x04\x7f\x00\x00",
        b"\x84",
        b"\x84\x00\x7f\x00\x00\x01",  # the code is padded
        b"\x36",
        b"\x36\x00",
        b"\x36\x05a",
        b"\x36\x03a/b",
        b"\x36\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\xa5\x03\x02\x00\x00",
        b"\x04\x7f\x00\x00\x01" * 103,
        QUIC_DRAFT,
    ],
)
def test_malformed_and_unknown_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(InvalidMultiaddrError):
        Multiaddr(raw)


def test_one_bad_address_does_not_void_the_others() -> None:
    good, better = Multiaddr.parse("/ip4/10.0.0.1/tcp/5001"), Multiaddr.parse("/ip6/fd00::1/tcp/5001")
    received = [good.raw, QUIC_DRAFT, b"", better.raw, good.raw, b"\xff"]
    assert known_addresses(received, 10) == (good, better)
    assert known_addresses(received, 1) == (good,)


class TestParts:
    def test_ip(self) -> None:
        assert Multiaddr.parse("/ip4/10.0.0.1/tcp/1").ip == IPv4Address("10.0.0.1")
        assert Multiaddr.parse("/ip6/fd00::1/tcp/1").ip == IPv6Address("fd00::1")
        assert Multiaddr.parse("/ip6zone/eth0/ip6/fe80::1/tcp/1").ip == IPv6Address("fe80::1%eth0")
        assert Multiaddr.parse("/dns4/a/tcp/1").ip is None
        assert Multiaddr.parse("/tcp/1").ip is None

    def test_dns_name(self) -> None:
        assert Multiaddr.parse("/dns4/a.example/tcp/1").dns_name == "a.example"
        assert Multiaddr.parse("/dnsaddr/b.example").dns_name == "b.example"
        assert Multiaddr.parse("/ip4/10.0.0.1/tcp/1").dns_name is None

    @pytest.mark.parametrize(
        "text",
        [
            "/ip4/10.0.0.1/tcp/5001",
            "/ip6/fd00::1/tcp/5001",
            "/ip6zone/eth0/ip6/fe80::1/tcp/5001",
            "/dns/a/tcp/5001",
            f"/ip4/10.0.0.1/tcp/5001/p2p/{ID}",
        ],
    )
    def test_a_tcp_port_that_can_be_dialled(self, text: str) -> None:
        assert Multiaddr.parse(text).tcp_port == 5001

    @pytest.mark.parametrize(
        "text",
        [
            "/ip4/10.0.0.1",
            "/ip4/10.0.0.1/udp/5001/quic-v1",
            "/tcp/5001",
            "/dnsaddr/a/tcp/5001",
            "/ip4/10.0.0.1/tcp/5001/ip4/10.0.0.2/tcp/5002",
            f"/ip4/10.0.0.1/tcp/5001/p2p/{ID}/p2p/{ID}",
            "/ip4/10.0.0.1/ip6zone/x/tcp/5001",
            f"/p2p/{ID}/ip4/10.0.0.1/tcp/5001",
        ],
    )
    def test_what_cannot_be_dialled_has_none(self, text: str) -> None:
        assert Multiaddr.parse(text).tcp_port is None

    def test_peer_id(self) -> None:
        plain = Multiaddr.parse("/ip4/10.0.0.1/tcp/5001")
        whole = plain.with_peer_id(PeerId.parse(ID))
        assert str(whole) == f"/ip4/10.0.0.1/tcp/5001/p2p/{ID}"
        assert whole.peer_id == PeerId.parse(ID)
        assert whole.without_peer_id() == plain
        assert whole.with_peer_id(PeerId.parse(OTHER_ID)).peer_id == PeerId.parse(OTHER_ID)
        assert plain.peer_id is None
        assert plain.without_peer_id() == plain
        assert Multiaddr.parse(f"/p2p/{ID}").without_peer_id() is None

    def test_made_of_parts(self) -> None:
        assert str(Multiaddr.tcp(IPv4Address("10.0.0.1"), 5001)) == "/ip4/10.0.0.1/tcp/5001"
        assert str(Multiaddr.tcp(IPv6Address("fe80::1%eth0"), 1)) == "/ip6zone/eth0/ip6/fe80::1/tcp/1"
        host, port = Multiaddr.parse("/ip4/10.0.0.1"), Multiaddr.parse("/tcp/5001")
        assert str(host.encapsulate(port)) == "/ip4/10.0.0.1/tcp/5001"


names = st.from_regex(r"\A[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?\Z")
parts = st.one_of(
    st.ip_addresses(v=4).map(lambda ip: f"/ip4/{ip}"),
    st.ip_addresses(v=6).map(lambda ip: f"/ip6/{ip}"),
    st.tuples(st.sampled_from(["tcp", "udp"]), st.integers(0, 65535)).map(lambda p: f"/{p[0]}/{p[1]}"),
    st.tuples(st.sampled_from(["dns", "dns4", "dns6", "dnsaddr", "ip6zone"]), names).map(
        lambda p: f"/{p[0]}/{p[1]}"
    ),
    st.sampled_from(["/quic-v1", f"/p2p/{ID}", f"/p2p/{OTHER_ID}"]),
)


@given(st.lists(parts, min_size=1, max_size=6).map("".join))
def test_every_address_comes_back(text: str) -> None:
    address = Multiaddr.parse(text)
    assert Multiaddr(address.raw) == address
    assert Multiaddr.parse(str(address)) == address


@given(
    st.binary(max_size=40)
    | st.lists(st.sampled_from(range(256)).map(lambda b: bytes((b,))), max_size=20).map(b"".join)
)
def test_every_address_that_is_taken_can_be_used(raw: bytes) -> None:
    try:
        address = Multiaddr(raw)
    except InvalidMultiaddrError:
        return
    assert Multiaddr.parse(str(address)).raw == raw
    assert (address.ip, address.dns_name, address.tcp_port, address.peer_id) is not None
    assert multiaddr.known_addresses([raw], 1) == (address,)
