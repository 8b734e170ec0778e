"""Unsigned varints, by the examples of multiformats/unsigned-varint and by properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.libp2p import varint
from daemon.libp2p.errors import LocalProtocolError
from daemon.libp2p.varint import VarintError


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (1, "01"),
        (127, "7f"),
        (128, "8001"),
        (255, "ff01"),
        (300, "ac02"),
        (16384, "808001"),
        (2**63 - 1, "ffffffffffffffff7f"),
    ],
)
def test_known_answers(value: int, encoded: str) -> None:
    assert varint.encode(value).hex() == encoded
    assert varint.decode(bytes.fromhex(encoded)) == (value, len(encoded) // 2)


@pytest.mark.parametrize(
    "encoded",
    [
        "8000",  # zero, and a byte too many
        "8100",
        "ffffffffffffffff80",  # the ninth byte asks for a tenth
        "ffffffffffffffffff01",
        "ffffffffffffffffffffffff",
    ],
)
def test_overlong_varints_are_refused(encoded: str) -> None:
    with pytest.raises(VarintError):
        varint.decode(bytes.fromhex(encoded))


@given(st.integers(0, varint.MAX_VALUE), st.binary(max_size=4), st.binary(max_size=4))
def test_a_varint_is_found_where_it_stands_and_not_before_it_is_whole(
    value: int, before: bytes, behind: bytes
) -> None:
    encoded = varint.encode(value)
    end = len(before) + len(encoded)
    assert varint.decode(before + encoded + behind, len(before)) == (value, end)
    for cut in range(len(encoded)):
        assert varint.decode(encoded[:cut]) is None


@pytest.mark.parametrize("value", [-1, 2**63])
def test_numbers_out_of_range_are_our_own_mistake(value: int) -> None:
    with pytest.raises(LocalProtocolError):
        varint.encode(value)


def test_a_delimited_message_has_its_length_before_it() -> None:
    assert varint.delimit(b"") == b"\0"
    assert varint.delimit(b"x" * 300) == b"\xac\x02" + b"x" * 300
