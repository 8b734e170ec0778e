"""The protobuf wire format (protobuf.dev, "Encoding"), as much of it as libp2p's small messages need.

A message is read as its fields, one after the other; whoever reads knows what they mean, takes those it
wants and stops when there are too many:

    for field in protobuf.fields(data):
        match field:
            case (1, bytes() as key): ...
            case (3, int() as kind): ...

A field of a known number but another wire type falls through such a match, which is what protobuf asks for.
"""

from __future__ import annotations

from collections.abc import Iterator

from daemon.libp2p import varint
from daemon.libp2p.errors import RemoteProtocolError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}
_MAX_NUMBER = 2**29 - 1
_MAX_VARINT = 10
_MASK = 2**64 - 1


class ProtobufError(RemoteProtocolError):
    """Bytes are no protobuf message."""


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Read a message.

    Yields:
        Number and value of every field, in the order of the bytes: varints as unsigned 64-bit numbers,
        length-delimited fields as bytes. Fixed-width fields, which none of our messages has, are left out.

    Raises:
        ProtobufError: the message is malformed, or has groups, which are long deprecated.
    """
    position, end = 0, len(data)
    while position < end:  # one-byte varints, nearly all there are, are read in place: a call takes as long
        key = data[position]
        if key < 0x80:
            position += 1
        else:
            key, position = _varint(data, position)
        number, wire_type = key >> 3, key & 7
        if not 0 < number <= _MAX_NUMBER:
            raise ProtobufError(f"{number} is no number of a field")
        if wire_type in (_VARINT, _BYTES):
            if position < end and (value := data[position]) < 0x80:
                position += 1
            else:
                value, position = _varint(data, position)
            if wire_type == _VARINT:
                yield number, value
                continue
            start, position = position, position + value
            if position <= end:
                yield number, data[start:position]
        elif wire_type in _FIXED:
            position += _FIXED[wire_type]
        else:
            raise ProtobufError(f"field {number} has the wire type {wire_type}, which is not read here")
        if position > end:
            raise ProtobufError(f"field {number} is longer than its message")


def varint_field(number: int, value: int) -> bytes:
    """Write a field that holds a number of up to 63 bits."""
    return varint.encode(number << 3 | _VARINT) + varint.encode(value)


def bytes_field(number: int, value: bytes) -> bytes:
    """Write a field that holds bytes, UTF-8 text or a message."""
    return varint.encode(number << 3 | _BYTES) + varint.encode(len(value)) + value


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Read a varint as protobuf has it: up to ten bytes, and padding is allowed."""
    value = shift = 0
    for offset in range(position, min(position + _MAX_VARINT, len(data))):
        byte = data[offset]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _MASK, offset + 1
        shift += 7
    raise ProtobufError("a varint is cut off" if shift < 7 * _MAX_VARINT else "a varint is too long")
