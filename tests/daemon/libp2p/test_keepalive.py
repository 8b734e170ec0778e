"""When to ask whether a silent peer is there, on a clock that the test moves."""

from __future__ import annotations

import pytest

from daemon.libp2p.yamux import Keepalive, PeerSilentError


def test_silence_leads_to_a_ping_and_then_to_the_end() -> None:
    keepalive = Keepalive(100.0, interval=30, patience=10)
    assert keepalive.due == 130
    assert not keepalive.poll(129)
    assert keepalive.poll(130)
    assert keepalive.due == 140
    assert not keepalive.poll(139)
    with pytest.raises(PeerSilentError, match="10 s"):
        keepalive.poll(140)


def test_whatever_comes_in_shows_that_the_peer_lives() -> None:
    keepalive = Keepalive(0.0, interval=30, patience=10)
    keepalive.heard(20)
    assert not keepalive.poll(49)
    assert keepalive.poll(50)
    keepalive.heard(55)
    assert keepalive.due == 85
    assert keepalive.poll(85)
