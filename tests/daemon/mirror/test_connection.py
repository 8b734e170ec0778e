"""Connecting to peers."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from collections.abc import AsyncIterator, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from daemon.mirror.connection import Connection, connect
from daemon.mirror.fault import Fault, PeerError
from tests.virtual_time import now, virtual_time

V4 = IPv4Address("127.0.0.1")
V6 = IPv6Address("::1")


@contextlib.contextmanager
def listener(address: str, port: int = 0) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen()
        yield sock


@contextlib.contextmanager
def blackhole(address: str, port: int = 0) -> Iterator[int]:
    """A port that takes no connection and refuses none: its queue is full."""
    with socket.socket() as sock, contextlib.ExitStack() as stack:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(0)
        for _ in range(2):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(sock.getsockname())
        yield sock.getsockname()[1]


def free_port() -> int:
    with listener("127.0.0.1") as sock:
        return int(sock.getsockname()[1])


async def dial(port: int, *addresses: IPv4Address | IPv6Address, limit: float = 0.5) -> Connection:
    return await connect(addresses, port, limit)


@virtual_time
async def test_one_address_is_enough() -> None:
    with listener("127.0.0.1") as sock:
        connection = await dial(sock.getsockname()[1], V4)
        assert connection.address == V4
        connection.close()


@virtual_time
async def test_version_6_goes_first() -> None:
    with listener("::1") as six:
        port = six.getsockname()[1]
        with listener("127.0.0.1", port):
            connection = await dial(port, V4, V6)
            assert connection.address == V6
            assert now() == 0
            connection.close()


@virtual_time
async def test_a_refused_address_costs_no_time() -> None:
    with listener("127.0.0.1") as sock:
        connection = await dial(sock.getsockname()[1], V6, IPv4Address("127.0.0.9"), V4)
        assert connection.address == V4
        assert now() == 0
        connection.close()


@virtual_time
async def test_a_blackholed_address_costs_a_tenth_of_a_second() -> None:
    with blackhole("127.0.0.9") as port, listener("127.0.0.1", port):
        connection = await dial(port, IPv4Address("127.0.0.9"), V4)
        assert connection.address == V4
        assert now() == pytest.approx(0.1)
        connection.close()


@virtual_time
async def test_a_blackholed_peer_costs_no_more_than_the_limit() -> None:
    with blackhole("127.0.0.1") as port:
        with pytest.raises(PeerError) as raised:
            await dial(port, V4)
        assert raised.value.fault is Fault.UNREACHABLE
        assert now() == pytest.approx(0.5)


@virtual_time
async def test_all_refused_is_told() -> None:
    with pytest.raises(PeerError, match="no connection to"):
        await dial(free_port(), V4, V6)
    assert now() == 0


@virtual_time
async def test_a_peer_without_addresses_is_unreachable() -> None:
    with pytest.raises(PeerError, match="no address"):
        await dial(1)


@virtual_time
async def test_of_many_addresses_a_few_are_tried() -> None:
    addresses = [ip_address(f"127.0.0.{number}") for number in range(2, 30)]
    with listener("127.0.0.29") as sock, pytest.raises(PeerError):
        await dial(sock.getsockname()[1], *addresses)


@pytest.mark.parametrize(("among", "most"), [(1, 1024 * 1024), (16, 256 * 1024), (64, 128 * 1024)])
def test_a_peer_sends_ahead_no_more_than_a_share(among: int, most: int) -> None:
    async def test() -> int:
        with listener("127.0.0.1") as sock:
            connection = await dial(sock.getsockname()[1], V4)
            connection.share(among)
            peer, _ = sock.accept()
            with peer:
                sender = asyncio.create_task(send_without_end(peer))
                received = await unread(connection)
                sender.cancel()
                await asyncio.gather(sender, return_exceptions=True)
            connection.close()
            return received

    assert 0 < asyncio.run(test()) <= most


def test_what_a_peer_may_send_ahead_grows_again() -> None:
    async def test() -> tuple[int, int]:
        with listener("127.0.0.1") as sock:
            connection = await dial(sock.getsockname()[1], V4)
            connection.share(64)
            peer, _ = sock.accept()
            with peer:
                sender = asyncio.create_task(send_without_end(peer))
                small = await unread(connection)
                connection.share(1)
                for _ in range(200):
                    await connection.receive(64 * 1024)
                large = await unread(connection)
                sender.cancel()
                await asyncio.gather(sender, return_exceptions=True)
            connection.close()
            return small, large

    small, large = asyncio.run(test())
    assert large > 2 * small


async def send_without_end(peer: socket.socket) -> None:
    peer.setblocking(False)
    while True:
        await asyncio.get_running_loop().sock_sendall(peer, bytes(1024 * 1024))


async def unread(connection: Connection) -> int:
    """Return how many bytes wait in a connection once no more come."""
    count, before = 0, -1
    while count == 0 or count != before:
        before = count
        await asyncio.sleep(0.05)
        count = struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.FIONREAD, bytes(4)))[0]
    return count


@virtual_time
async def test_giving_up_leaves_nothing_open() -> None:
    with blackhole("127.0.0.1") as port:
        dialling = asyncio.ensure_future(dial(port, V4))
        await asyncio.sleep(0.01)
        dialling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dialling
    # An open socket would be reported as an error by the end of this test.


@virtual_time
async def test_unread_bytes_and_the_end_are_told_apart() -> None:
    with listener("127.0.0.1") as sock:
        connection = await dial(sock.getsockname()[1], V4)
        with sock.accept()[0] as other:
            assert connection.peek() is None
            other.sendall(b"xy")
            await connection.pump(lambda: False, 1)
            assert connection.peek() == b"x"
            assert await connection.receive(9) == b"xy"
            assert connection.peek() is None
        await connection.pump(lambda: False, 1)
        assert connection.peek() == b""
        with pytest.raises(PeerError, match="closed"):
            await connection.receive(9)
        connection.close()


@virtual_time
async def test_a_reset_is_the_peers_failure() -> None:
    with listener("127.0.0.1") as sock:
        connection = await dial(sock.getsockname()[1], V4)
        other = sock.accept()[0]
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        other.close()
        with pytest.raises(PeerError, match="reset"):
            await connection.receive(9)
        assert connection.peek() == b""
        connection.close()


@contextlib.asynccontextmanager
async def joined() -> AsyncIterator[tuple[Connection, socket.socket]]:
    with listener("127.0.0.1") as sock:
        connection = await dial(sock.getsockname()[1], V4)
        with sock.accept()[0] as peer:
            yield connection, peer
        connection.close()


@virtual_time
async def test_steps_are_taken_until_one_is_the_last() -> None:
    async with joined() as (connection, peer):
        peer.sendall(b"abc")
        taken = []

        def step() -> bool:
            taken.append(connection.receive_into(memoryview(bytearray(1))))
            return len(taken) < 3

        await connection.pump(step, 1)
        assert (len(taken), now()) == (3, 0)


@virtual_time
async def test_what_a_step_raises_ends_the_steps() -> None:
    async with joined() as (connection, peer):
        peer.close()
        with pytest.raises(PeerError, match="closed"):
            await connection.pump(lambda: connection.receive_into(memoryview(bytearray(1))) > 0, 1)


class Counter:
    """A step that only counts; always the last."""

    taken = 0

    def __call__(self) -> bool:
        self.taken += 1
        return False


@virtual_time
async def test_fewer_bytes_than_are_expected_wake_nobody() -> None:
    step = Counter()
    async with joined() as (connection, peer):
        connection.expect(1000)
        peer.sendall(bytes(999))
        await connection.pump(step, 5)
        assert (step.taken, now()) == (0, 5)
        peer.sendall(bytes(1))
        await connection.pump(step, 5)
        assert (step.taken, now()) == (1, 5)


@pytest.mark.parametrize("linger", [b"\0\0\0\0\0\0\0\0", b"\1\0\0\0\0\0\0\0"], ids=["close", "reset"])
@virtual_time
async def test_the_end_wakes_at_once_however_many_are_expected(linger: bytes) -> None:
    step = Counter()
    async with joined() as (connection, peer):
        connection.expect(1000)
        peer.sendall(bytes(10))
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        peer.close()
        await connection.pump(step, 5)
        assert (step.taken, now()) == (1, 0)


@pytest.mark.parametrize(("before", "after"), [(1, 1), (64, 64), (1, 64), (64, 1)])
def test_more_is_never_expected_than_a_peer_may_send_ahead(before: int, after: int) -> None:
    async def test() -> None:
        async with joined() as (connection, peer):
            connection.share(before)
            connection.expect(10**9)
            connection.share(after)
            sender = asyncio.create_task(send_without_end(peer))
            step = Counter()
            await connection.pump(step, 60)
            assert step.taken == 1
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    asyncio.run(test())


@virtual_time
async def test_anything_may_come_after_a_rest() -> None:
    step = Counter()
    async with joined() as (connection, peer):
        connection.expect(1000)
        connection.rest()
        peer.sendall(b"x")
        await connection.pump(step, 5)
        assert (step.taken, now()) == (1, 0)
