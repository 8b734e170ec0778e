"""multistream-select: what both sides say, in every split, and whom they do not listen to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.libp2p import varint
from daemon.libp2p.errors import LocalProtocolError, RemoteProtocolError
from daemon.libp2p.multistream import (
    MAX_MESSAGE,
    MAX_PROPOSALS,
    PROTOCOL,
    Initiator,
    NotSupportedError,
    Responder,
)

HEADER = b"\x13/multistream/1.0.0\n"
NA = b"\x03na\n"
KAD = "/spegel/kad/1.0.0"


def message(text: str) -> bytes:
    return varint.delimit(text.encode() + b"\n")


class TestInitiator:
    def test_it_sends_the_header_and_the_first_proposal_at_once(self) -> None:
        assert Initiator([KAD]).start() == HEADER + b"\x12/spegel/kad/1.0.0\n"

    def test_what_comes_behind_the_agreement_is_the_protocols(self) -> None:
        initiator = Initiator([KAD])
        assert initiator.receive(HEADER + message(KAD) + b"answer") == b""
        assert initiator.protocol == KAD
        assert initiator.rest == b"answer"

    def test_it_proposes_one_after_the_other(self) -> None:
        initiator = Initiator(["/a", "/b", "/c"])
        assert initiator.receive(HEADER + NA) == message("/b")
        assert initiator.receive(NA) == message("/c")
        assert initiator.receive(message("/c")) == b""
        assert initiator.protocol == "/c"

    def test_it_tells_when_all_are_refused(self) -> None:
        initiator = Initiator([KAD])
        with pytest.raises(NotSupportedError, match=KAD):
            initiator.receive(HEADER + NA)
        assert initiator.protocol is None

    @pytest.mark.parametrize(
        "received",
        [
            message("/multistream/2.0.0"),
            message(KAD),
            HEADER + message("/other"),
            HEADER + HEADER,
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
        ],
    )
    def test_other_answers_break_the_rules(self, received: bytes) -> None:
        with pytest.raises(RemoteProtocolError):
            Initiator([KAD]).receive(received)

    def test_it_is_not_fed_what_is_the_protocols(self) -> None:
        initiator = Initiator([KAD])
        initiator.receive(HEADER + message(KAD))
        with pytest.raises(LocalProtocolError):
            initiator.receive(b"answer")


class TestResponder:
    def test_it_answers_header_and_proposal_together(self) -> None:
        responder = Responder({KAD})
        assert responder.receive(HEADER + message(KAD) + b"request") == HEADER + message(KAD)
        assert responder.protocol == KAD
        assert responder.rest == b"request"

    def test_it_answers_a_header_that_comes_alone(self) -> None:
        responder = Responder({KAD})
        assert responder.receive(HEADER) == HEADER
        assert responder.receive(message(KAD)) == message(KAD)

    def test_it_refuses_what_it_does_not_speak_and_listens_on(self) -> None:
        responder = Responder({KAD})
        assert responder.receive(HEADER + message("/tls/1.0.0")) == HEADER + NA
        assert responder.protocol is None
        assert responder.receive(message(KAD)) == message(KAD)

    def test_it_lists_what_it_speaks(self) -> None:
        responder = Responder(["/a", "/bc"])
        assert responder.receive(HEADER + message("ls")) == HEADER + b"\x0a\x03/a\n\x04/bc\n\n"
        assert responder.receive(message("/bc")) == message("/bc")

    def test_it_does_not_negotiate_for_ever(self) -> None:
        responder = Responder({KAD})
        responder.receive(HEADER + message("/x") * MAX_PROPOSALS)
        with pytest.raises(RemoteProtocolError, match="more than 32"):
            responder.receive(message("/x"))

    @pytest.mark.parametrize(
        "received",
        [
            message("/multistream/2.0.0"),
            HEADER[:-1] + b"x",
            b"\x00",
            varint.encode(MAX_MESSAGE + 1),
            b"\xff" * 9,
            b"\x13\x80" + HEADER,
            HEADER + b"\x03abc",
            b"GET / HTTP/1.1\r\nHost: node\r\n\r\n" * 10,
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r" * 40,  # TLS
        ],
    )
    def test_strangers_are_refused(self, received: bytes) -> None:
        with pytest.raises(RemoteProtocolError):
            Responder({KAD}).receive(received)

    def test_a_request_behind_a_refused_proposal_does_not_pass_for_a_proposal(self) -> None:
        with pytest.raises(RemoteProtocolError):
            Responder({KAD}).receive(HEADER + message("/other") + b"\x04\x08\x02\x12\x00")

    def test_the_longest_message_is_read(self) -> None:
        name = "/" + "x" * (MAX_MESSAGE - 2)
        assert Responder({name}).receive(HEADER + message(name)) == HEADER + message(name)

    def test_names_that_are_no_text_are_not_available(self) -> None:
        assert Responder({KAD}).receive(HEADER + b"\x03\xff\xfe\n") == HEADER + NA


@given(
    proposals=st.lists(st.sampled_from(["/a", "/b", "/c", "/d", KAD]), min_size=1, max_size=5),
    supported=st.sets(st.sampled_from(["/a", "/b", "/c", "/d", KAD])),
    request=st.binary(max_size=20),
    data=st.data(),
)
def test_both_sides_agree_whatever_the_splits(
    proposals: list[str], supported: set[str], request: bytes, data: st.DataObject
) -> None:
    initiator, responder = Initiator(proposals), Responder(supported)
    wanted = next((name for name in proposals if name in supported), None)
    there, back = initiator.start(), b""
    lazy = len(proposals) == 1 and wanted is not None
    if lazy:
        there += request  # without waiting
    behind = bytearray()
    while there or back:
        if there:
            size = data.draw(st.integers(1, len(there)))
            chunk, there = there[:size], there[size:]
            if responder.protocol is None:
                back += responder.receive(chunk)
                behind += responder.rest if responder.protocol else b""
            else:
                behind += chunk
        if back:
            size = data.draw(st.integers(1, len(back)))
            chunk, back = back[:size], back[size:]
            try:
                there += initiator.receive(chunk)
            except NotSupportedError:
                assert wanted is None
                return
    assert initiator.protocol == responder.protocol == wanted
    assert bytes(behind) == (request if lazy else b"")
    assert PROTOCOL not in (initiator.protocol, responder.protocol)
