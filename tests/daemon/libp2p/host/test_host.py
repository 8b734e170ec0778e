"""Hosts among each other, on loopback."""

from __future__ import annotations

import asyncio
import socket
from typing import NoReturn

import pytest

from daemon.libp2p import identify, ping, varint
from daemon.libp2p.errors import RemoteProtocolError
from daemon.libp2p.host import DialError, Limits, SelfDialError, Stream, StreamError
from daemon.libp2p.identity import PrivateKey
from daemon.libp2p.multiaddr import Multiaddr
from daemon.libp2p.peer_info import PeerInfo
from tests.daemon.libp2p.host.hosts import (
    ECHO,
    Watcher,
    connections,
    info,
    listener,
    loopback,
    make_host,
    pair,
    say,
    stranger,
    until,
)
from tests.virtual_time import now, virtual_time


async def test_a_message_there_and_back() -> None:
    async with pair() as (one, two):
        assert await say(one, info(two)) == b"hello"
        assert await say(two, info(one)) == b"hello"
        assert connections(one) == connections(two) == 1


@pytest.mark.parametrize("size", [0, 1, 65519, 65520, 300_000, 1_000_000])
async def test_messages_of_any_size(size: int) -> None:
    async with pair() as (one, two):
        message = bytes(range(256)) * (size // 256) + bytes(size % 256)
        assert await say(one, info(two), message) == message


async def test_a_hundred_streams_at_once() -> None:
    async with pair() as (one, two):
        messages = [str(number).encode() * 500 for number in range(100)]
        assert await asyncio.gather(*(say(one, info(two), message) for message in messages)) == messages
        assert connections(one) == 1


async def test_many_messages_over_one_stream() -> None:
    async with pair() as (one, two):
        stream = await one.open_stream(info(two), ECHO)
        for number in range(100):
            await stream.write(varint.delimit(b"%d" % number))
        stream.close_write()
        for number in range(100):
            assert await stream.read_delimited(10) == b"%d" % number
        assert await stream.read_delimited(10) is None
        stream.close()


async def test_over_ipv6_and_dual_stack() -> None:
    dual = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    async with make_host(listeners=[dual]) as two, make_host() as one:
        four, six = two.addresses()
        assert str(four).startswith("/ip4/127.0.0.1/tcp/")
        assert str(six).startswith("/ip6/::1/tcp/")
        for address in (four, six):
            async with make_host() as other:
                assert await say(other, PeerInfo(two.peer_id, (address,))) == b"hello"
                assert two.remote_ip(other.peer_id) == str(address.ip)
        assert await say(one, info(two)) == b"hello"


async def test_loopback_that_is_listened_on_by_name_is_announced() -> None:
    for address, written in (("127.0.0.2", "/ip4/127.0.0.2"), ("::1", "/ip6/::1")):
        async with make_host(listeners=[listener(address)]) as host:
            assert [str(own).rpartition("/tcp/")[0] for own in host.addresses()] == [written]


async def test_nodes_on_one_loopback_know_each_other_by_the_address_that_each_listens_on() -> None:
    listeners = [listener("127.0.0.2")], [listener("127.0.0.3")]
    async with make_host(listeners=listeners[0]) as two, make_host(listeners=listeners[1]) as three:
        await three.connect(info(two))
        await until(two.peers)
        assert two.remote_ip(three.peer_id) == "127.0.0.3"
        assert three.remote_ip(two.peer_id) == "127.0.0.2"


async def test_each_learns_who_the_other_is() -> None:
    here, there = Watcher(), Watcher()
    async with make_host(here) as one, make_host(there) as two:
        await one.connect(info(two))
        for watcher, other in ((here, two), (there, one)):
            peer, protocols = await watcher.until_met(other.peer_id)
            assert peer == info(other)
            assert {*protocols} == {identify.PROTOCOL, identify.PUSH_PROTOCOL, ping.PROTOCOL, ECHO}
        assert two.known_addresses(one.peer_id) == one.addresses()
    assert here.lost == [two.peer_id]
    assert there.lost == [one.peer_id]


async def test_what_a_peer_said_is_enough_to_dial_it() -> None:
    watcher, key = Watcher(), PrivateKey.generate()
    async with make_host() as two:
        async with make_host(watcher, key=key) as one:
            await two.connect(info(one))
            await watcher.until_met(two.peer_id)
            await until(lambda: two.known_addresses(one.peer_id))
            addresses = one._listeners[0].getsockname()
        again = socket.create_server(addresses)
        async with make_host(key=key, listeners=[again]) as one:
            await until(lambda: not two.peers())
            assert await say(two, PeerInfo(one.peer_id, ())) == b"hello"


async def test_ping() -> None:
    async with pair() as (one, two):
        assert await one.ping(info(two)) > 0


async def test_addresses_that_change_are_pushed() -> None:
    watcher = Watcher()
    async with make_host(watcher) as one, make_host() as two:
        await one.connect(info(two))
        await watcher.until_met(two.peer_id)
        port = two.addresses()[0].tcp_port
        two._introductions._own_addresses = lambda _: [next(iter(loopback(4))) + 1]
        two._check_addresses()
        await until(lambda: str(watcher.met[two.peer_id][0].addresses[0]) == f"/ip4/127.0.0.2/tcp/{port}")


async def test_who_is_unknown_is_found_out() -> None:
    async with pair() as (one, two):
        assert await one.connect_to_unknown(two.addresses()) == two.peer_id
        assert one.peers() == [two.peer_id]


async def test_itself_is_recognized() -> None:
    async with make_host() as host:
        with pytest.raises(SelfDialError):
            await host.connect_to_unknown(host.addresses())
        assert host.peers() == []


async def test_somebody_else_than_expected_is_refused() -> None:
    async with pair() as (one, two):
        expected = PrivateKey.generate().peer_id
        with pytest.raises(DialError, match=f"expected the peer {expected}, but this is {two.peer_id}"):
            await one.connect(PeerInfo(expected, two.addresses()))
        assert one.peers() == []


async def test_the_first_address_that_answers_is_taken() -> None:
    silent = listener()  # accepts, and says nothing
    nobody = Multiaddr.parse("/ip4/127.0.0.1/tcp/1")
    async with pair() as (one, two):
        dead = Multiaddr.parse(f"/ip4/127.0.0.1/tcp/{silent.getsockname()[1]}")
        quic = Multiaddr.parse("/ip4/127.0.0.1/udp/1/quic-v1")
        peer = PeerInfo(two.peer_id, (quic, nobody, dead, *two.addresses()))
        assert await say(one, peer) == b"hello"
    silent.close()


async def test_names_are_looked_up() -> None:
    async with pair() as (one, two):
        port = two.addresses()[0].tcp_port
        peer = PeerInfo(two.peer_id, (Multiaddr.parse(f"/dns4/localhost/tcp/{port}"),))
        assert await say(one, peer) == b"hello"


@pytest.mark.parametrize(
    ("protocol", "reached"), [("dns", True), ("dns4", True), ("dns6", False)], ids=["dns", "dns4", "dns6"]
)
async def test_of_a_names_addresses_all_are_tried_that_the_address_allows(
    monkeypatch: pytest.MonkeyPatch, protocol: str, reached: bool
) -> None:
    records = {socket.AF_INET6: "::1", socket.AF_INET: "127.0.0.1"}

    async def look_up(_: str, port: int, *, family: int, type: int) -> list[tuple[object, ...]]:  # noqa: A002
        found = {family: records[family]} if family else records
        return [(one, type, 0, "", (address, port)) for one, address in found.items()]

    async with make_host() as host, make_host(listeners=[listener("127.0.0.1")]) as peer:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
        port = peer.addresses()[0].tcp_port
        dialling = host.connect_to_unknown([Multiaddr.parse(f"/{protocol}/peer.example/tcp/{port}")])
        if reached:
            assert await dialling == peer.peer_id
        else:
            with pytest.raises(DialError, match=f"/ip6/::1/tcp/{port}: Connection refused"):
                await dialling


async def test_a_name_that_nobody_knows_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look_up(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with make_host() as host:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
        with pytest.raises(DialError, match=r"^/dns/nobody/tcp/1: Name or service not known$"):
            await host.connect_to_unknown([Multiaddr.parse("/dns/nobody/tcp/1")])


@pytest.mark.parametrize("name", ["a..b", "a" * 64])
async def test_what_cannot_be_a_name_is_one_clear_error(name: str) -> None:
    async with make_host() as host:
        with pytest.raises(DialError, match=f"/dns4/{name}/tcp/1: not a name"):
            await host.connect_to_unknown([Multiaddr.parse(f"/dns4/{name}/tcp/1")])


async def test_nobody_to_dial_is_one_clear_error() -> None:
    async with make_host() as host:
        peer = PrivateKey.generate().peer_id
        with pytest.raises(DialError, match="no TCP address"):
            await host.connect(PeerInfo(peer, ()))
        refused = Multiaddr.parse("/ip4/127.0.0.1/tcp/1")
        with pytest.raises(DialError, match=r"/ip4/127\.0\.0\.1/tcp/1: Connection refused"):
            await host.connect(PeerInfo(PrivateKey.generate().peer_id, (refused,)))


@virtual_time
async def test_whoever_failed_is_left_alone_for_a_while() -> None:
    key = PrivateKey.generate()
    nobody = PeerInfo(key.peer_id, (Multiaddr.parse("/ip4/127.0.0.1/tcp/1"),))
    async with make_host() as host:
        for pause in (1, 2, 4, 8, 16, 30, 30):
            with pytest.raises(DialError, match="Connection refused"):
                await host.connect(nobody)
            failed = now()
            with pytest.raises(DialError, match="not dialled again so soon"):
                await host.connect(nobody)
            await asyncio.sleep(pause + 0.001)
            assert now() - failed < pause + 1
        async with make_host(key=key) as back:
            await back.connect(info(host))
            assert await say(host, nobody) == b"hello", "it came of itself"


@virtual_time
async def test_a_dial_ends_in_time() -> None:
    with listener() as silent:
        address = Multiaddr.parse(f"/ip4/127.0.0.1/tcp/{silent.getsockname()[1]}")
        async with make_host() as host:
            started = now()
            with pytest.raises(DialError, match="no answer within 5 s"):
                await host.connect(PeerInfo(PrivateKey.generate().peer_id, (address,)))
            assert now() - started <= 5.1


async def test_one_dial_serves_all_who_wait_and_outlives_the_first() -> None:
    async with pair() as (one, two):
        first = asyncio.create_task(one.connect(info(two)))
        others = [asyncio.create_task(one.connect(info(two))) for _ in range(5)]
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(*others)
        await until(two.peers)
        assert connections(one) == connections(two) == 1


async def test_who_comes_by_itself_ends_the_wait_for_a_dial() -> None:
    with listener() as silent:
        dead = Multiaddr.parse(f"/ip4/127.0.0.1/tcp/{silent.getsockname()[1]}")
        async with pair() as (one, two):
            dial = asyncio.create_task(one.connect(PeerInfo(two.peer_id, (dead,))))
            await asyncio.sleep(0)
            await two.connect(info(one))
            async with asyncio.timeout(3):
                await dial


@virtual_time
async def test_of_simultaneous_dials_one_survives_and_no_stream_is_lost() -> None:
    for _ in range(3):
        async with pair() as (one, two):
            streams = await asyncio.gather(one.open_stream(info(two), ECHO), two.open_stream(info(one), ECHO))
            assert await asyncio.gather(say(one, info(two)), say(two, info(one))) == [b"hello"] * 2
            for stream in streams:
                await stream.write(b"\x01a")
            await asyncio.sleep(8)
            for stream in streams:  # whichever connection they are on
                assert await stream.read_delimited(10) == b"a"
                await stream.write(b"\x01b")
                assert await stream.read_delimited(10) == b"b"
                stream.close()
            await asyncio.sleep(70)
            assert connections(one) == connections(two) == 1
            (survivor,), (twin,) = list(one._roster), list(two._roster)
            assert survivor.dialled != twin.dialled, "it is one and the same"
            assert await asyncio.gather(say(one, info(two)), say(two, info(one))) == [b"hello"] * 2


@virtual_time
async def test_idle_connections_are_dropped() -> None:
    watcher = Watcher()
    async with make_host(watcher, limits=Limits(idle=100)) as one, make_host() as two:
        await say(one, info(two))
        await asyncio.sleep(90)
        assert one.peers()
        await asyncio.sleep(20)
        assert not one.peers()
        assert watcher.lost == [two.peer_id]
        assert await say(one, info(two)) == b"hello"


@virtual_time
async def test_a_connection_in_use_is_not_idle() -> None:
    async with pair(Limits(idle=20)) as (one, two):
        for _ in range(4):
            await say(one, info(two))
            await asyncio.sleep(15)
        assert connections(one) == 1


@virtual_time
async def test_a_peer_that_has_died_silently_is_dropped() -> None:
    watcher = Watcher()
    async with make_host(watcher) as host, stranger(host) as peer:
        key = PrivateKey.generate()
        await peer.upgrade(key)
        await until(host.peers)
        await asyncio.sleep(39)
        assert host.peers(), "it was asked, and has time to answer"
        await asyncio.sleep(3)
        assert watcher.lost == [key.peer_id]


@virtual_time
async def test_a_peer_that_only_answers_pings_is_kept() -> None:
    async with pair() as (one, two):
        await one.connect(info(two))
        await asyncio.sleep(120)
        assert one.peers() == [two.peer_id]


@virtual_time
async def test_a_protocol_that_is_not_spoken() -> None:
    async with pair() as (one, two):
        stream = await one.open_stream(info(two), "/other/1.0.0")
        await stream.write(b"x")
        with pytest.raises(StreamError, match="does not speak /other"):
            await stream.read(1)
        assert await say(one, info(two)) == b"hello", "the connection is as good as before"


async def test_a_handler_that_fails_costs_its_stream_only(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_: Stream) -> None:
        raise ZeroDivisionError

    async with pair() as (one, two):
        two.handle("/fail", fail)
        stream = await one.open_stream(info(two), "/fail")
        await stream.write(b"x")
        with pytest.raises(StreamError, match="reset by the peer"):
            await stream.read(1)
        assert "/fail" in caplog.text
        assert await say(one, info(two)) == b"hello"


async def test_streams_end_with_their_connection() -> None:
    one, two = make_host(), make_host()
    async with one:
        async with two:
            stream = await one.open_stream(info(two), ECHO)
            await stream.write(b"\x05hello")
            assert await stream.read_delimited(5) == b"hello"
        with pytest.raises(StreamError, match="the connection was lost"):
            await stream.read(1)
        with pytest.raises(StreamError):
            await stream.write(b"x")
        stream.close()
        with pytest.raises(DialError):
            await say(one, info(two))


async def test_what_came_before_the_end_can_be_read_after_it() -> None:
    async def answer(stream: Stream) -> None:
        await stream.write(b"\x05hello")

    one, two = make_host(), make_host()
    two.handle("/answer", answer)
    async with one:
        async with two:
            stream = await one.open_stream(info(two), "/answer")
            await stream.write(b"")
            await until(lambda: stream._ended)
        await until(lambda: not one.peers())
        assert await stream.read_delimited(5) == b"hello"
        assert await stream.read_delimited(5) is None


async def test_a_message_cut_off_by_the_end_is_an_error() -> None:
    async with pair() as (one, two):

        async def cut(stream: Stream) -> None:
            await stream.write(b"\x05hel")

        two.handle("/cut", cut)
        stream = await one.open_stream(info(two), "/cut")
        await stream.write(b"")
        with pytest.raises(RemoteProtocolError, match="middle of a message"):
            await stream.read_delimited(5)


async def test_a_host_that_is_left_has_closed_everything() -> None:
    async with make_host() as one:
        async with make_host() as two:
            await say(one, info(two))
            port = two.addresses()[0].tcp_port
        await until(lambda: not one.peers())
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_a_restarted_peer_replaces_its_old_connection() -> None:
    key = PrivateKey.generate()
    async with make_host() as host, stranger(host) as first, stranger(host) as second:
        await first.upgrade(key)
        await until(lambda: connections(host) == 1)
        old = host._roster.best(key.peer_id)
        await second.upgrade(key)
        await until(lambda: connections(host) == 2)
        assert host._roster.best(key.peer_id) is not old
