"""Yamux sessions: the frames on the wire, and what a peer may and may not do with them."""

from __future__ import annotations

import struct

import pytest

from daemon.libp2p.errors import LocalProtocolError, RemoteProtocolError
from daemon.libp2p.yamux import (
    WINDOW,
    DataReceived,
    Event,
    GoAway,
    Limits,
    PeerLeaving,
    PongReceived,
    Session,
    StreamEnded,
    StreamOpened,
    StreamReset,
    StreamWritable,
    UnavailableError,
)

DATA, UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8


def frame(kind: int, flags: int, stream: int, length: int, body: bytes = b"") -> bytes:
    return struct.pack(">BBHII", 0, kind, flags, stream, length) + body


def data(stream: int, body: bytes, flags: int = 0) -> bytes:
    return frame(DATA, flags, stream, len(body), body)


def sent(session: Session) -> bytes:
    return b"".join(session.take_output())


def server(**limits: int) -> Session:
    return Session(client=False, limits=Limits(**limits))


def server_with_stream(**limits: int) -> Session:
    """A session at which the peer has opened the stream 1."""
    session = server(**limits)
    assert session.receive(frame(UPDATE, SYN, 1, 0)) == [StreamOpened(1)]
    return session


def exchange(one: Session, other: Session) -> tuple[list[Event], list[Event]]:
    """Let both ends read all the other has sent, until there is nothing more."""
    at_one: list[Event] = []
    at_other: list[Event] = []
    while True:
        to_other, to_one = sent(one), sent(other)
        if not to_other and not to_one:
            return at_one, at_other
        at_other += other.receive(to_other)
        at_one += one.receive(to_one)


class TestFrames:
    """Known answers, by the specification's table of fields."""

    def test_a_streams_frames(self) -> None:
        client = Session(client=True)
        stream = client.open_stream()
        client.send(stream, b"hello")
        client.send(stream, b"!")
        client.finish(stream)
        assert [piece.hex() for piece in client.take_output()] == [
            "000000010000000100000005",
            b"hello".hex(),
            "000000000000000100000001",
            b"!".hex(),
            "000100040000000100000000",
        ]
        assert client.take_output() == []

    def test_an_answers_frames(self) -> None:
        session = server_with_stream()
        session.send(1, b"a")
        session.reset(1)
        assert sent(session).hex() == "00000002000000010000000161000100080000000100000000"

    def test_a_window_updates_frame(self) -> None:
        session = server_with_stream()
        session.receive(data(1, bytes(0x20000)))
        session.consumed(1, 0x20000)
        assert sent(session).hex() == "000100020000000100020000"

    def test_the_sessions_frames(self) -> None:
        session = server()
        session.ping(0x2A)
        session.receive(bytes.fromhex("000200010000000001020304"))
        session.leave(GoAway.PROTOCOL_ERROR)
        assert sent(session).hex() == (
            "00020001000000000000002a000200020000000001020304000300000000000000000001"
        )

    def test_streams_are_odd_at_the_client_and_even_at_the_server(self) -> None:
        client = Session(client=True)
        assert [client.open_stream() for _ in range(3)] == [1, 3, 5]
        assert [server().open_stream(), server().open_stream()] == [2, 2]

    def test_the_end_never_travels_with_data(self) -> None:
        client = Session(client=True)
        stream = client.open_stream()
        client.finish(stream)
        assert sent(client) == frame(UPDATE, SYN | FIN, 1, 0)


class TestStreams:
    def test_a_request_and_its_answer(self) -> None:
        client, listener = Session(client=True), server()
        stream = client.open_stream()
        client.send(stream, b"request")
        client.finish(stream)
        _, events = exchange(client, listener)
        assert events == [StreamOpened(1), DataReceived(1, b"request"), StreamEnded(1)]
        listener.consumed(1, 7)
        listener.send(1, b"answer")
        listener.finish(1)
        events, _ = exchange(client, listener)
        assert events == [DataReceived(1, b"answer"), StreamEnded(1)]
        client.consumed(1, 6)
        for session in (client, listener):
            with pytest.raises(LocalProtocolError):
                session.send(1, b"more")

    def test_half_a_stream_stays_open(self) -> None:
        session = server_with_stream()
        assert session.receive(frame(UPDATE, FIN, 1, 0)) == [StreamEnded(1)]
        assert session.send(1, b"still here") == 10
        session = server_with_stream()
        session.finish(1)
        assert session.receive(data(1, b"still here")) == [DataReceived(1, b"still here")]

    def test_data_may_open_and_end_a_stream(self) -> None:
        assert server().receive(data(1, b"all", SYN | FIN)) == [
            StreamOpened(1),
            DataReceived(1, b"all"),
            StreamEnded(1),
        ]

    def test_the_end_comes_behind_the_data_of_its_frame(self) -> None:
        session = server_with_stream()
        whole = data(1, b"hello", FIN)
        assert session.receive(whole[:14]) == [DataReceived(1, b"he")]
        assert session.receive(whole[14:]) == [DataReceived(1, b"llo"), StreamEnded(1)]

    def test_both_sides_open_streams(self) -> None:
        client, listener = Session(client=True), server()
        for session in (client, listener):
            session.send(session.open_stream(), b"hello")
        at_client, at_listener = exchange(client, listener)
        assert at_client == [StreamOpened(2), DataReceived(2, b"hello")]
        assert at_listener == [StreamOpened(1), DataReceived(1, b"hello")]

    @pytest.mark.parametrize(
        "reset", [frame(UPDATE, RST, 1, 0), frame(UPDATE, RST, 1, 4711), data(1, b"x", RST)]
    )
    def test_a_reset_ends_a_stream_both_ways(self, reset: bytes) -> None:
        session = server_with_stream()
        assert session.receive(data(1, b"x") + reset) == [DataReceived(1, b"x"), StreamReset(1)]
        with pytest.raises(LocalProtocolError):
            session.send(1, b"y")
        session.consumed(1, 1)  # comes too late, and does no harm
        assert sent(session) == b""

    def test_what_crosses_our_reset_on_the_way_is_passed_over(self) -> None:
        session = server_with_stream()
        session.reset(1)
        crossing = (
            data(1, b"x" * 100) + frame(UPDATE, 0, 1, 4) + frame(UPDATE, FIN, 1, 0) + frame(UPDATE, RST, 1, 0)
        )
        assert session.receive(crossing + frame(UPDATE, SYN, 3, 0)) == [StreamOpened(3)]

    def test_a_stream_reset_in_the_middle_of_a_frame_gives_no_more(self) -> None:
        session = server_with_stream()
        whole = data(1, b"x" * 100)
        assert session.receive(whole[:50]) == [DataReceived(1, b"x" * 38)]
        session.reset(1)
        assert session.receive(whole[50:]) == []

    def test_a_stream_that_was_never_introduced_is_reset_in_silence(self) -> None:
        client = Session(client=True)
        client.reset(client.open_stream())
        assert sent(client) == b""

    def test_data_behind_the_end_is_passed_over(self) -> None:
        session = server_with_stream()
        assert session.receive(frame(UPDATE, FIN, 1, 0) + data(1, b"x") + frame(UPDATE, FIN, 1, 0)) == [
            StreamEnded(1)
        ]

    def test_an_ignored_stream_is_forgotten_once_it_is_finished(self) -> None:
        client = Session(client=True)
        stream = client.open_stream()
        client.send(stream, b"provide")
        client.receive(data(1, b"echo", ACK))
        client.ignore(stream)
        assert client.receive(data(1, b"more")) == []
        client.consumed(stream, 4)  # what its reader held, too late
        client.finish(stream)
        assert client.receive(data(1, b"even more") + frame(UPDATE, FIN, 1, 0)) == []
        assert client.streams == 0

    def test_streams_that_are_over_are_forgotten(self) -> None:
        client, listener = Session(client=True), server()
        for _ in range(1000):
            stream = client.open_stream()
            client.send(stream, b"request")
            client.finish(stream)
            exchange(client, listener)
            listener.consumed(stream, 7)
            listener.finish(stream)
            exchange(client, listener)
        assert client.streams == listener.streams == 0

    def test_nothing_is_done_to_a_stream_that_does_not_exist(self) -> None:
        session = server()
        session.reset(1)
        session.ignore(1)
        session.consumed(1, 5)
        for act in (lambda: session.send(1, b"x"), lambda: session.finish(1)):
            with pytest.raises(LocalProtocolError):
                act()
        assert sent(session) == b""

    def test_a_finished_stream_takes_no_data(self) -> None:
        session = server_with_stream()
        session.finish(1)
        with pytest.raises(LocalProtocolError):
            session.send(1, b"x")
        with pytest.raises(LocalProtocolError):
            session.finish(1)


class TestFlowControl:
    def test_no_more_is_sent_than_the_window_takes(self) -> None:
        client = Session(client=True)
        stream = client.open_stream()
        assert client.send(stream, bytes(WINDOW - 1)) == WINDOW - 1
        assert client.send(stream, b"ab") == 1
        assert client.send(stream, b"b") == 0
        assert client.receive(frame(UPDATE, ACK, stream, 10)) == [StreamWritable(stream)]
        assert client.send(stream, bytes(100)) == 10

    def test_a_stream_that_waits_for_nothing_is_told_nothing(self) -> None:
        client = Session(client=True)
        stream = client.open_stream()
        client.send(stream, bytes(WINDOW))
        assert client.receive(frame(UPDATE, ACK, stream, 10)) == []

    def test_large_data_goes_in_frames_that_let_others_in(self) -> None:
        client = Session(client=True)
        client.send(client.open_stream(), bytes(WINDOW))
        assert [len(piece) for piece in client.take_output()] == 4 * [12, 65536]

    def test_the_window_is_opened_again_when_half_of_it_is_read(self) -> None:
        session = server_with_stream()
        session.receive(data(1, bytes(WINDOW)))
        session.consumed(1, WINDOW // 2 - 1)
        assert sent(session) == b""
        session.consumed(1, 1)
        assert sent(session) == frame(UPDATE, ACK, 1, WINDOW // 2)
        session.consumed(1, WINDOW // 2)
        assert sent(session) == frame(UPDATE, 0, 1, WINDOW // 2)

    def test_what_of_a_frame_is_still_under_way_opens_no_window(self) -> None:
        session = server_with_stream()
        session.receive(data(1, bytes(WINDOW))[: 12 + WINDOW // 2])
        session.consumed(1, WINDOW // 2)
        assert sent(session) == frame(UPDATE, ACK, 1, WINDOW // 2)

    def test_a_stream_that_has_ended_needs_no_window(self) -> None:
        session = server_with_stream()
        session.receive(data(1, bytes(WINDOW), FIN))
        session.consumed(1, WINDOW)
        assert sent(session) == b""

    def test_more_data_than_the_window_breaks_the_rules(self) -> None:
        session = server_with_stream()
        session.receive(data(1, bytes(WINDOW - 10)))
        with pytest.raises(RemoteProtocolError, match="window"):
            session.receive(frame(DATA, 0, 1, 11))

    def test_it_is_noticed_by_the_header_alone(self) -> None:
        with pytest.raises(RemoteProtocolError, match="window"):
            server_with_stream().receive(frame(DATA, 0, 1, WINDOW + 1))

    def test_also_on_a_stream_that_does_not_exist(self) -> None:
        with pytest.raises(RemoteProtocolError, match="window"):
            server().receive(frame(DATA, 0, 99, 2**32 - 1))

    def test_a_window_beyond_all_bounds_is_just_large(self) -> None:
        client = Session(client=True)
        stream = client.open_stream()
        client.receive(frame(UPDATE, 0, stream, 2**32 - 1) * 3)
        assert client.send(stream, bytes(4 * WINDOW)) == 4 * WINDOW

    def test_the_code_of_a_reset_is_no_window(self) -> None:
        client = Session(client=True)
        stream = client.open_stream()
        client.send(stream, bytes(WINDOW + 1))
        assert client.receive(frame(UPDATE, RST, stream, 1000)) == [StreamReset(stream)]

    def test_more_cannot_be_consumed_than_came(self) -> None:
        session = server_with_stream()
        session.receive(data(1, b"abc"))
        with pytest.raises(LocalProtocolError):
            session.consumed(1, 4)


class TestSession:
    def test_pings_are_answered_and_answers_are_told(self) -> None:
        client, listener = Session(client=True), server()
        client.ping(7)
        assert exchange(client, listener) == ([PongReceived(7)], [])

    def test_pongs_nobody_asked_for_are_passed_over(self) -> None:
        session = server()
        session.ping(1)
        assert session.receive(frame(PING, ACK, 0, 2)) == []
        assert session.receive(frame(PING, ACK, 0, 1) * 2) == [PongReceived(1)]

    def test_a_peer_that_leaves_is_asked_for_no_more_streams(self) -> None:
        session = server_with_stream()
        assert session.receive(frame(GO_AWAY, 0, 0, 0)) == [PeerLeaving(0)]
        with pytest.raises(UnavailableError):
            session.open_stream()
        assert session.send(1, b"the open ones go on") == 19

    def test_who_leaves_takes_no_more_streams(self) -> None:
        session = server_with_stream()
        session.leave(GoAway.NORMAL)
        sent(session)
        assert session.receive(frame(UPDATE, SYN, 3, 0) + data(3, b"x") + data(1, b"y")) == [
            DataReceived(1, b"y")
        ]
        assert sent(session) == frame(UPDATE, RST, 3, 0)
        with pytest.raises(UnavailableError):
            session.open_stream()

    @pytest.mark.parametrize(
        ("received", "why"),
        [
            (b"\x01" + bytes(11), "version 1"),
            (frame(4, 0, 0, 0), "type 4"),
            (frame(255, 0, 0, 0), "type 255"),
            (frame(UPDATE, SYN, 0, 0), "0 is no number"),
            (frame(UPDATE, SYN, 2, 0), "2 is no number"),
            (data(4, b"x", SYN), "4 is no number"),
            (frame(UPDATE, SYN, 1, 0) * 2, "opened twice"),
            (frame(UPDATE, SYN, 1, 0) + frame(UPDATE, RST, 1, 0) + frame(UPDATE, SYN, 1, 0), "opened twice"),
            (b"\x13/multistream/1.0.0\n", "version 19"),
            (b"GET / HTTP/1.1\r\n", "version 71"),
        ],
    )
    def test_other_frames_break_the_rules(self, received: bytes, why: str) -> None:
        with pytest.raises(RemoteProtocolError, match=why):
            server().receive(received)

    def test_two_clients_notice(self) -> None:
        one, other = Session(client=True), Session(client=True)
        one.send(one.open_stream(), b"x")
        with pytest.raises(RemoteProtocolError, match="1 is no number"):
            other.receive(sent(one))

    def test_unknown_flags_are_passed_over(self) -> None:
        assert server().receive(frame(UPDATE, SYN | 0xFFF0, 1, 0)) == [StreamOpened(1)]


class TestLimits:
    def test_streams_beyond_the_limit_are_reset(self) -> None:
        session = server(inbound_streams=2)
        opened = session.receive(b"".join(data(stream, b"x", SYN) for stream in (1, 3, 5)))
        assert [event for event in opened if isinstance(event, StreamOpened)] == [
            StreamOpened(1),
            StreamOpened(3),
        ]
        assert sent(session) == frame(UPDATE, RST, 5, 0)
        session.receive(frame(UPDATE, RST, 1, 0))
        assert session.receive(frame(UPDATE, SYN, 7, 0)) == [StreamOpened(7)]

    def test_a_stream_counts_until_its_data_is_consumed(self) -> None:
        session = server(inbound_streams=1)
        session.receive(data(1, b"x", SYN | FIN))
        session.finish(1)
        assert session.receive(frame(UPDATE, SYN, 3, 0)) == []
        session.consumed(1, 1)
        assert session.receive(frame(UPDATE, SYN, 5, 0)) == [StreamOpened(5)]

    def test_streams_that_are_not_acknowledged_have_a_limit_of_their_own(self) -> None:
        session = server(backlog=2)
        assert len(session.receive(b"".join(frame(UPDATE, SYN, stream, 0) for stream in (1, 3, 5)))) == 2
        session.send(1, b"acknowledged")
        sent(session)
        assert session.receive(frame(UPDATE, SYN, 7, 0)) == [StreamOpened(7)]

    def test_a_peer_does_not_acknowledge_its_own_streams(self) -> None:
        session = server(backlog=1)
        assert session.receive(frame(UPDATE, SYN | ACK, 1, 0) + frame(UPDATE, ACK, 1, 0)) == [StreamOpened(1)]
        assert session.receive(frame(UPDATE, SYN, 3, 0)) == []

    def test_we_wait_for_the_peer_to_acknowledge(self) -> None:
        client = Session(client=True, limits=Limits(backlog=2))
        first, second = client.open_stream(), client.open_stream()
        with pytest.raises(UnavailableError, match="not acknowledged"):
            client.open_stream()
        client.receive(frame(UPDATE, ACK, first, 0))
        third = client.open_stream()
        client.receive(frame(UPDATE, ACK, first, 0) * 5)  # said once is enough
        with pytest.raises(UnavailableError):
            client.open_stream()
        client.reset(second)
        client.receive(frame(UPDATE, RST, third, 0))
        assert [client.open_stream(), client.open_stream()]

    def test_the_peers_backlog_of_the_specification_is_held(self) -> None:
        client, listener = Session(client=True), server()
        for _ in range(256):
            client.send(client.open_stream(), b"x")
        with pytest.raises(UnavailableError):
            client.open_stream()
        _, events = exchange(client, listener)
        assert len(events) == 512

    def test_the_stream_that_fills_the_memory_is_reset(self) -> None:
        session = server(unread=WINDOW + 100)
        session.receive(data(1, bytes(WINDOW), SYN) + data(3, bytes(100), SYN))
        sent(session)
        assert session.receive(data(3, b"x")) == [StreamReset(3)]
        assert sent(session) == frame(UPDATE, RST, 3, 0)
        assert session.receive(data(5, bytes(100), SYN)) == [StreamOpened(5), DataReceived(5, bytes(100))]
        session.consumed(1, WINDOW)
        assert session.receive(data(7, bytes(WINDOW), SYN))[-1] == DataReceived(7, bytes(WINDOW))

    def test_a_flood_of_streams_costs_the_flooder_as_much_as_us(self) -> None:
        session = server()
        flood = b"".join(frame(UPDATE, SYN, stream, 0) for stream in range(1, 20_001, 2))
        assert len(session.receive(flood)) == 256
        assert session.streams == 256
        assert len(sent(session)) < len(flood)

    def test_stream_numbers_can_be_used_up(self) -> None:
        client = Session(client=True)
        client._next_id = 2**32 - 1
        assert client.open_stream() == 2**32 - 1
        with pytest.raises(UnavailableError, match="used up"):
            client.open_stream()
