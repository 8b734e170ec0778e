"""Protobuf fields, beside the protobuf package as the reference."""

from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from daemon.libp2p import protobuf
from daemon.libp2p.protobuf import ProtobufError


def read(encoded: str) -> list[tuple[int, int | bytes]]:
    return list(protobuf.fields(bytes.fromhex(encoded)))


def test_fields_come_in_their_order() -> None:
    # The examples of protobuf.dev, "Encoding".
    assert read("089601") == [(1, 150)]
    assert read("120774657374696e67") == [(2, b"testing")]
    assert read("089601120774657374696e670801") == [(1, 150), (2, b"testing"), (1, 1)]
    assert read("1a03089601") == [(3, bytes.fromhex("089601"))]


def test_numbers_are_of_64_bits_and_may_be_padded() -> None:
    assert read("08feffffffffffffffff01") == [(1, 2**64 - 2)]  # what an int32 of -2 looks like
    assert read("08818000") == [(1, 1)]


def test_fixed_width_fields_are_left_out() -> None:
    assert read("0d01020304" + "0801" + "110102030405060708") == [(1, 1)]


def test_a_message_is_its_own_concatenation() -> None:
    whole = protobuf.varint_field(1, 5) + protobuf.bytes_field(1000, b"x" * 200)
    assert list(protobuf.fields(whole)) == [(1, 5), (1000, b"x" * 200)]


@pytest.mark.parametrize(
    ("encoded", "why"),
    [
        ("00", "0 is no number"),
        ("808080801000", "536870912 is no number"),
        ("08", "cut off"),
        ("0880", "cut off"),
        ("08ffffffffffffffffffff01", "too long"),
        ("12", "cut off"),
        ("1205616263", "longer than its message"),
        ("12ffffffffffffffff7f", "longer than its message"),
        ("0d0102", "longer than its message"),
        ("11010203", "longer than its message"),
        ("0b0c", "wire type 3"),
        ("0e", "wire type 6"),
        ("0f", "wire type 7"),
    ],
)
def test_malformed_messages_are_refused(encoded: str, why: str) -> None:
    with pytest.raises(ProtobufError, match=why):
        read(encoded)


@given(st.text(max_size=300), st.binary(max_size=300))
def test_the_protobuf_package_reads_what_is_written(text: str, value: bytes) -> None:
    written = protobuf.bytes_field(1, text.encode()) + protobuf.bytes_field(2, value)
    assert Any.FromString(written) == Any(type_url=text, value=value)


@given(st.binary(max_size=60))
def test_what_is_read_the_protobuf_package_reads_too(data: bytes) -> None:
    try:
        fields = list(protobuf.fields(data))
    except ProtobufError:
        return
    values = [value for number, value in fields if number == 2 and isinstance(value, bytes)]
    try:
        message = Any.FromString(data)
    except DecodeError:
        assert any(number == 1 and isinstance(value, bytes) for number, value in fields)  # text, not UTF-8
    else:
        assert message.value == (values[-1] if values else b"")
