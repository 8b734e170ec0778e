"""Ping: whole payloads come back, and only what was sent counts as an answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.libp2p.errors import RemoteProtocolError
from daemon.libp2p.ping import SIZE, Echo, Pinger


def test_a_round_is_complete_when_all_is_back() -> None:
    pinger, echo = Pinger(), Echo()
    for _ in range(3):
        sent = pinger.start()
        assert len(sent) == SIZE
        answer = echo.receive(sent)
        assert not pinger.receive(answer[:10])
        assert pinger.receive(answer[10:])


def test_another_answer_breaks_the_rules() -> None:
    pinger = Pinger()
    sent = pinger.start()
    with pytest.raises(RemoteProtocolError):
        pinger.receive(sent[:-1] + bytes((sent[-1] ^ 1,)))


def test_more_than_was_sent_breaks_the_rules() -> None:
    pinger = Pinger()
    with pytest.raises(RemoteProtocolError):
        pinger.receive(pinger.start() + b"x")


@given(st.lists(st.binary(max_size=100)))
def test_the_echo_holds_back_less_than_a_payload(chunks: list[bytes]) -> None:
    echo = Echo()
    back = b"".join(map(echo.receive, chunks))
    sent = b"".join(chunks)
    assert sent.startswith(back)
    assert len(back) == len(sent) // SIZE * SIZE
