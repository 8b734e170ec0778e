"""The way from a connection to streams, without sockets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.libp2p import multistream, noise, yamux
from daemon.libp2p.errors import RemoteProtocolError
from daemon.libp2p.host.upgrade import Upgrade
from daemon.libp2p.identity import PrivateKey

ONE, TWO = PrivateKey.generate(), PrivateKey.generate()
EARLY, LATE = [yamux.PROTOCOL], []  # whether a side names its multiplexer in the handshake


def sides(dialler: list[str] = EARLY, listener: list[str] = EARLY) -> tuple[Upgrade, Upgrade]:
    return (
        Upgrade(noise.Credentials(ONE, dialler), initiator=True, expected=TWO.peer_id),
        Upgrade(noise.Credentials(TWO, listener), initiator=False),
    )


def run(dialler: Upgrade, listener: Upgrade, step: int = 10_000) -> int:
    """Carry bytes to and fro in pieces; return how often the dialler had to wait for the listener."""
    waits = 0
    to_listener, to_dialler = dialler.start(), b""
    while not (dialler.done and listener.done):
        for start in range(0, len(to_listener), step):
            to_dialler += listener.receive(to_listener[start : start + step])
        to_listener = b""
        if to_dialler:
            waits += 1
        for start in range(0, len(to_dialler), step):
            to_listener += dialler.receive(to_dialler[start : start + step])
        to_dialler = b""
    return waits


@pytest.mark.parametrize("dialler", [EARLY, LATE])
@pytest.mark.parametrize("listener", [EARLY, LATE])
def test_both_know_each_other_and_can_talk(dialler: list[str], listener: list[str]) -> None:
    one, two = sides(dialler, listener)
    run(one, two)
    assert one.secured.peer_id == TWO.peer_id
    assert two.secured.peer_id == ONE.peer_id
    for sender, receiver in ((one, two), (two, one)):
        sent = sender.secured.transport.encrypt(b"hello")
        assert receiver.secured.transport.receive(sent) == [b"hello"]


def test_with_early_negotiation_the_dialler_waits_once() -> None:
    assert run(*sides()) == 1


def test_without_it_it_waits_twice() -> None:
    assert run(*sides(LATE)) == 2


@given(step=st.integers(1, 200), dialler=st.sampled_from([EARLY, LATE]))
def test_however_the_bytes_come(step: int, dialler: list[str]) -> None:
    one, two = sides(dialler)
    run(one, two, step)
    assert one.secured.peer_id == TWO.peer_id


def test_what_comes_behind_the_handshake_is_kept() -> None:
    one, two = sides()
    second = two.receive(one.start())
    third = one.receive(second)
    assert one.done
    two.receive(third + bytes(one.secured.transport.encrypt(b"first frame")))
    assert two.rest == [b"first frame"]


def test_what_comes_behind_a_late_negotiation_is_kept() -> None:
    one, two = sides(LATE)
    answer = two.receive(one.receive(two.receive(one.start())))
    one.receive(answer + bytes(two.secured.transport.encrypt(b"first frame")))
    assert one.done
    assert b"".join(one.rest) == b"first frame"


def test_another_identity_than_the_expected_is_told() -> None:
    dialler, _ = sides()
    impostor = Upgrade(noise.Credentials(ONE, EARLY), initiator=False)
    with pytest.raises(noise.PeerMismatchError) as raised:
        dialler.receive(impostor.receive(dialler.start()))
    assert raised.value.actual == ONE.peer_id


def test_a_peer_that_does_not_speak_noise() -> None:
    dialler, _ = sides()
    dialler.start()
    with pytest.raises(multistream.NotSupportedError):
        dialler.receive(
            multistream.Responder(["/tls/1.0.0"]).receive(multistream.Initiator(["/noise"]).start())
        )


@given(st.binary(min_size=1, max_size=300))
def test_noise_of_another_kind_is_refused_or_waited_for(data: bytes) -> None:
    for side in sides():
        side.start()
        try:
            side.receive(data)
        except (RemoteProtocolError, multistream.NotSupportedError):
            continue
        assert not side.done
