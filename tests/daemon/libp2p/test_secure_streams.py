"""Yamux within Noise, through a pipe that cuts the bytes anywhere: every stream reads what was written."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.libp2p.identity import PrivateKey
from daemon.libp2p.noise import Credentials, Handshake, Secured
from daemon.libp2p.yamux import DataReceived, Session, StreamEnded

CLIENT, SERVER = Credentials(PrivateKey.generate()), Credentials(PrivateKey.generate())


class End:
    """One end: a session in a secure channel, which reads all it gets at once."""

    def __init__(self, secured: Secured, *, client: bool) -> None:
        self.transport = secured.transport
        self.session = Session(client=client)
        self.received: dict[int, bytes] = {}
        self.ended: set[int] = set()

    def take(self) -> bytes:
        return bytes(self.transport.encrypt(b"".join(self.session.take_output())))

    def receive(self, data: bytes) -> None:
        for plaintext in self.transport.receive(data):
            for event in self.session.receive(plaintext):
                match event:
                    case DataReceived(stream, body):
                        self.received[stream] = self.received.get(stream, b"") + body
                        self.session.consumed(stream, len(body))
                    case StreamEnded(stream):
                        self.ended.add(stream)


def ends() -> tuple[End, End]:
    initiator, responder = Handshake(CLIENT, initiator=True), Handshake(SERVER, initiator=False)
    responder.receive(initiator.receive(responder.receive(initiator.start())))
    assert initiator.secured is not None
    assert responder.secured is not None
    return End(initiator.secured, client=True), End(responder.secured, client=False)


@given(
    writes=st.lists(
        st.tuples(st.integers(0, 3), st.binary(max_size=300) | st.just(bytes(70_000))), max_size=12
    ),
    cuts=st.lists(st.integers(1, 500) | st.integers(1, 200_000), min_size=1, max_size=20),
)
@settings(max_examples=50, deadline=None)
def test_every_stream_reads_what_was_written(writes: list[tuple[int, bytes]], cuts: list[int]) -> None:
    client, server = ends()
    streams = [client.session.open_stream() for _ in range(4)]
    written = dict.fromkeys(streams, b"")
    pipe = bytearray()

    def flow() -> None:
        pipe.extend(client.take())
        for cut in cuts:
            server.receive(bytes(pipe[:cut]))
            del pipe[:cut]

    for number, body in writes:
        data = memoryview(body)
        while data:
            data = data[client.session.send(streams[number], data) :]
            flow()
            client.receive(server.take())  # window updates
        written[streams[number]] += body
    for stream in streams:
        client.session.finish(stream)
    pipe += client.take()
    server.receive(bytes(pipe))
    assert server.received == {stream: body for stream, body in written.items() if body}
    assert server.ended == set(streams)
