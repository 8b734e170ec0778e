"""What a stranger can take up of a host: little, and never what others need."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from daemon.libp2p import multistream, varint, yamux
from daemon.libp2p.host import Limits, Stream
from daemon.libp2p.host.connection import STREAM
from daemon.libp2p.host.limits import Admission
from daemon.libp2p.identity import PrivateKey
from daemon.libp2p.yamux import frames
from daemon.libp2p.yamux.frames import DATA, FIN, RST, SYN, WINDOW_UPDATE
from tests.daemon.libp2p.host.hosts import (
    ECHO,
    Stranger,
    connections,
    info,
    listener,
    make_host,
    pair,
    say,
    stranger,
    until,
)
from tests.virtual_time import now, virtual_time

FILES = Path("/proc/self/fd")


@virtual_time
async def test_a_slow_handshake_is_cut_off() -> None:
    async with make_host() as host, stranger(host) as peer:
        started = now()
        for byte in multistream.Initiator(["/noise"]).start():
            peer.writer.write(bytes([byte]))
            await asyncio.sleep(1)
            if peer.reader.at_eof():
                break
        await peer.reader.read()
        assert now() - started <= 12


@virtual_time
async def test_a_peer_that_says_nothing_is_cut_off() -> None:
    async with make_host() as host, stranger(host) as peer:
        assert await peer.reader.read() == b""
        assert now() <= 10.1


@pytest.mark.parametrize(
    "opening", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"\xff" * 100, os.urandom(5000)]
)
async def test_other_protocols_are_cut_off_at_once(opening: bytes) -> None:
    async with make_host() as host, stranger(host) as peer, asyncio.timeout(5):
        peer.writer.write(opening)
        while await peer.reader.read(1000):
            pass
        assert connections(host) == 0


@virtual_time
async def test_a_stream_that_is_never_said_what_for_is_reset() -> None:
    async with make_host() as host, stranger(host) as peer:
        await peer.upgrade()
        number = peer.session.open_stream()
        peer.session.send(number, b"\x13/multi")
        await peer.send()
        while yamux.StreamReset(number) not in peer.events:
            await peer.receive()
        assert now() <= 12
        await peer.receive()
        await until(lambda: host._roster.best(host.peers()[0]).idle_since is not None)


@virtual_time
async def test_a_stream_without_a_word_is_reset() -> None:
    async with make_host() as host, stranger(host) as peer:
        await peer.upgrade()
        number = peer.session.open_stream()
        peer.session.send(number, multistream.Initiator([ECHO]).start() + b"\x05hello")
        await peer.send()
        while yamux.StreamReset(number) not in peer.events:
            assert await peer.receive()
            await peer.send()  # answers to pings
        assert 60 <= now() <= 63


async def test_a_flood_of_streams_is_reset_beyond_the_limit() -> None:
    async with make_host() as host, stranger(host) as peer:
        await peer.upgrade()
        opening = multistream.Initiator([ECHO]).start()
        for _ in range(5000):
            peer.session.send(peer.session.open_stream(), opening)
        await peer.send()
        resets = 0
        while resets < 5000 - 128:
            assert await peer.receive()
            resets = sum(isinstance(event, yamux.StreamReset) for event in peer.events)
        (connection,) = host._roster
        assert sum(stream.inbound for stream in connection._streams.values()) <= 128
        async with make_host() as other:
            assert await say(other, info(host)) == b"hello", "others do not notice"


async def test_streams_opened_and_reset_at_once_leave_nothing_behind() -> None:
    async with make_host() as host, stranger(host) as peer:
        await peer.upgrade()
        opening = multistream.Initiator([ECHO]).start()
        for _ in range(50):
            for _ in range(100):
                number = peer.session.open_stream()
                peer.session.send(number, opening)
                peer.session.reset(number)
            await peer.send()
        await until(host.peers)
        async with make_host() as other:
            assert await say(other, info(host)) == b"hello"
        (connection,) = (one for one in host._roster if not one.dialled and one.remote[1] == _port(peer))
        await until(lambda: len(connection._streams) <= 1 and len(connection._session._streams) <= 1)


def _port(peer: Stranger) -> int:
    port: int = peer.writer.get_extra_info("sockname")[1]
    return port


async def test_a_message_longer_than_allowed_is_refused_before_it_comes() -> None:
    async with pair() as (one, two):
        stream = await one.open_stream(info(two), ECHO)
        await stream.write(varint.encode(2**20 + 1) + b"the beginning")
        with pytest.raises(Exception, match="reset by the peer"):
            await stream.read(1)


async def never_read(stream: Stream) -> None:
    await asyncio.get_running_loop().create_future()


async def test_one_peer_cannot_leave_more_unread_than_its_share() -> None:
    limits = Limits(per_peer=yamux.Limits(unread=512 * 1024))
    async with make_host(limits=limits) as host, stranger(host) as peer:
        host.handle(ECHO, never_read)
        await peer.upgrade()
        opening = multistream.Initiator([ECHO]).start()
        for _ in range(4):
            number = peer.session.open_stream()
            peer.session.send(number, opening)
            peer.session.send(number, bytes(200 * 1024))
        await peer.send()
        while not any(isinstance(event, yamux.StreamReset) for event in peer.events):
            assert await peer.receive()
        assert host._held <= 512 * 1024


async def test_all_together_cannot_and_the_one_with_the_most_is_cut_off() -> None:
    limits = Limits(held=600 * 1024)
    async with make_host(limits=limits) as host:
        host.handle(ECHO, never_read)
        opening = multistream.Initiator([ECHO]).start()
        async with stranger(host) as small, stranger(host) as large:
            for peer, streams in ((small, 1), (large, 3)):
                await peer.upgrade()
                for _ in range(streams):
                    number = peer.session.open_stream()
                    peer.session.send(number, opening)
                    peer.session.send(number, bytes(200 * 1024))
                await peer.send()
            await large.until_closed()
            await until(lambda: connections(host) == 1)
            assert 200 * 1024 <= host._held <= 210 * 1024
        await until(lambda: host._held == 0)


async def test_streams_that_all_together_have_open_are_bounded_too() -> None:
    async with make_host(limits=Limits(held=300 * STREAM)) as host, AsyncExitStack() as stack:
        host.handle(ECHO, never_read)
        opening = multistream.Initiator([ECHO]).start()
        peers = [await stack.enter_async_context(stranger(host)) for _ in range(4)]
        for peer, streams in zip(peers, (20, 120, 90, 100), strict=True):
            await peer.upgrade()
            for _ in range(streams):
                peer.session.send(peer.session.open_stream(), opening)
            await peer.send()
        await peers[1].until_closed()
        await until(lambda: connections(host) == 3)
        assert host._held >= (20 + 90 + 100) * STREAM
        await stack.aclose()
        await until(lambda: host._held == 0)


async def test_what_all_together_do_not_read_is_bounded_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    ping = frames.header(frames.PING, frames.SYN, 0, 1) * 4000
    async with make_host(limits=Limits(held=256 * 1024)) as host, stranger(host) as peer:
        await peer.upgrade()
        await until(host.peers)
        assert peer.transport is not None
        with pytest.raises(ConnectionError):
            await _write_for_ever(peer.writer, peer.transport.encrypt, ping)
        await until(lambda: not host.peers())
        assert host._held == 0
    assert "peers take up too much memory" in caplog.text


async def test_a_peer_that_asks_and_never_reads_is_cut_off() -> None:
    async with make_host() as host, stranger(host) as peer:
        await peer.upgrade()
        await until(host.peers)
        ping = frames.header(frames.PING, frames.SYN, 0, 1) * 4000
        assert peer.transport is not None
        with pytest.raises(ConnectionError):
            await _write_for_ever(peer.writer, peer.transport.encrypt, ping)
        await until(lambda: not host.peers())


async def test_what_one_peer_sends_at_once_is_dealt_with_by_and_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """One message of Noise holds thousands of frames; nobody waits until all of them are answered."""
    sizes: list[int] = []
    receive = yamux.Session.receive

    def watch(session: yamux.Session, data: bytes) -> list[yamux.Event]:
        sizes.append(len(data))
        return receive(session, data)

    async with make_host() as host, stranger(host) as peer:
        await peer.upgrade()
        await until(host.peers)
        monkeypatch.setattr(yamux.Session, "receive", watch)
        for value in range(5000):
            peer.session.ping(value)
        assert peer.transport is not None
        peer.writer.write(peer.transport.encrypt(b"".join(peer.session.take_output())))
        await until(lambda: sum(sizes) >= 5000 * 12)
        assert max(sizes) <= 4096
        monkeypatch.undo()
        while sum(isinstance(event, yamux.PongReceived) for event in peer.events) < 5000:
            assert await peer.receive()
        async with make_host() as other:
            assert await say(other, info(host)) == b"hello", "it still reads"
        assert host.peers()


async def _write_for_ever(
    writer: asyncio.StreamWriter, encrypt: Callable[[bytes], bytearray], data: bytes
) -> None:
    while True:
        writer.write(encrypt(data))
        await writer.drain()


async def test_a_number_that_is_another_streams_by_now_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    header = frames.header
    opening, unknown = multistream.Initiator([ECHO]).start(), b"no header of multistream"
    said = varint.delimit(b"x" * 100)
    first = header(DATA, SYN, 1, len(unknown)) + unknown
    ended_well = header(DATA, SYN, 3, len(opening)) + opening + header(DATA, FIN, 3, len(said)) + said
    again = header(DATA, SYN | FIN, 1, len(opening)) + opening
    attacks = [
        [first + header(WINDOW_UPDATE, RST, 1, 0) + again],
        [first, header(WINDOW_UPDATE, RST, 1, 0) + again],
        [ended_well + header(WINDOW_UPDATE, RST, 3, 0) + header(DATA, SYN, 3, len(opening)) + opening],
        [ended_well + header(WINDOW_UPDATE, RST, 3, 0), header(DATA, SYN, 3, len(opening)) + opening],
    ]
    async with make_host() as host:
        for pieces in attacks:
            async with stranger(host) as peer:
                await peer.upgrade()
                assert peer.transport is not None
                peer.writer.write(b"".join(map(peer.transport.encrypt, pieces)))
                peer.writer.write_eof()
                await peer.until_closed()
        async with make_host() as other:
            assert await say(other, info(host)) == b"hello"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_broken_frames_end_the_connection_with_a_reason() -> None:
    async with make_host() as host, stranger(host) as peer:
        await peer.upgrade()
        assert peer.transport is not None
        peer.writer.write(peer.transport.encrypt(b"\x07" + bytes(11)))
        await peer.until_closed()
        assert yamux.PeerLeaving(yamux.GoAway.PROTOCOL_ERROR) in peer.events
        assert not host.peers()


async def test_forged_ciphertext_ends_the_connection() -> None:
    async with make_host() as host, stranger(host) as peer:
        await peer.upgrade()
        peer.writer.write(b"\x00\x20" + bytes(32))
        await peer.until_closed()
        assert not host.peers()


@pytest.fixture
def file_descriptors() -> Iterator[int]:
    """Let this process, which is server and clients, open many sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 25_000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_ten_thousand_connections_from_one_address_exhaust_nothing(file_descriptors: int) -> None:
    async with make_host() as host:
        target = ("127.0.0.1", host.addresses()[0].tcp_port)
        loop = asyncio.get_running_loop()
        before = sum(1 for _ in FILES.iterdir())
        held: list[socket.socket] = []
        try:
            for _ in range(100):
                for _ in range(100):
                    sock = socket.socket()
                    sock.setblocking(False)
                    sock.connect_ex(target)
                    held.append(sock)
                await asyncio.sleep(0)
                if len(held) > file_descriptors // 2:
                    held.pop(0).close()
            await asyncio.sleep(0.1)
            mine = sum(1 for _ in FILES.iterdir()) - before - len(held)
            assert mine <= host.limits.handshakes_per_address
            # Somebody at another address is served meanwhile.
            other = socket.socket()
            other.setblocking(False)
            other.bind(("127.0.0.2", 0))
            await loop.sock_connect(other, target)
            reader, writer = await asyncio.open_connection(sock=other)
            peer = Stranger(reader, writer)
            await peer.upgrade()
            await until(host.peers)
            writer.close()
            await writer.wait_closed()
        finally:
            for sock in held:
                sock.close()


async def test_one_address_may_hold_some_connections_only() -> None:
    limits = Limits(per_address=3, handshakes_per_address=100)
    async with make_host(limits=limits) as host:
        peers = [stranger(host) for _ in range(4)]
        for peer in peers[:3]:
            await (await peer.__aenter__()).upgrade()
        await until(lambda: connections(host) == 3)
        refused = await peers[3].__aenter__()
        assert await refused.reader.read() == b""
        await peers[0].__aexit__(None, None, None)
        await until(lambda: connections(host) == 2)
        async with stranger(host) as again:
            await again.upgrade()
        for peer in peers[1:]:
            await peer.__aexit__(None, None, None)


async def test_when_all_places_are_taken_the_idle_ones_of_the_greediest_go() -> None:
    limits = Limits(connections=4)
    async with make_host(limits=limits) as host:
        keys = [PrivateKey.generate() for _ in range(6)]
        peers = [stranger(host) for _ in keys]
        for key, peer in zip(keys, peers, strict=True):
            await (await peer.__aenter__()).upgrade(key)
            await until(lambda wanted=key: wanted.peer_id in host.peers())
        assert connections(host) == 4
        assert keys[-1].peer_id in host.peers()
        for peer in peers:
            await peer.__aexit__(None, None, None)


async def test_peers_that_were_dialled_at_one_address_do_not_push_out_others() -> None:
    """Whoever has a host dial many names, all at its own address, must not cut off those who came."""
    limits = Limits(connections=3)
    crowd = [make_host(listeners=[listener("127.0.0.2")]) for _ in range(4)]
    async with AsyncExitStack() as stack, make_host(limits=limits) as host, stranger(host) as guest:
        key = PrivateKey.generate()
        await guest.upgrade(key)
        for one in crowd:
            await stack.enter_async_context(one)
            await host.connect(info(one))
        assert connections(host) == 3
        assert key.peer_id in host.peers()


def test_admission_counts_each_address_by_itself() -> None:
    admission = Admission(limit=4, per_address=2)
    assert [admission.enter("fd00::1") for _ in range(3)] == [True, True, False]
    assert admission.enter("fd00::2"), "a neighbour is somebody else"
    assert not admission.overfull
    assert admission.enter("fd00::3")
    assert admission.enter("fd00::4")
    assert admission.overfull
    assert admission.greediest() == "fd00::1"
    admission.leave("fd00::1")
    assert not admission.full("fd00::1")
    assert len(admission) == 4
