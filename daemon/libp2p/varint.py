"""Unsigned varints (multiformats/unsigned-varint): at most nine bytes, 63 bits, and no byte too many."""

from __future__ import annotations

from daemon.libp2p.errors import LocalProtocolError, RemoteProtocolError

MAX_LENGTH = 9
"""Bytes."""
MAX_VALUE = 2**63 - 1

_SHORT = [bytes((value,)) for value in range(0x80)]


class VarintError(RemoteProtocolError):
    """Bytes are no varint."""


def encode(value: int) -> bytes:
    """Return the one encoding of a number.

    Raises:
        LocalProtocolError: the number is negative or has more than 63 bits.
    """
    if 0 <= value < 0x80:
        return _SHORT[value]
    if not 0 <= value <= MAX_VALUE:
        raise LocalProtocolError(f"{value} is out of a varint's range")
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def decode(data: bytes | bytearray | memoryview, offset: int = 0) -> tuple[int, int] | None:
    """Read a varint.

    Returns:
        The number and the offset behind it; None when ``data`` ends before the varint does.

    Raises:
        VarintError: it is longer than nine bytes, or longer than its number needs.
    """
    if offset < len(data) and (byte := data[offset]) < 0x80:
        return byte, offset + 1
    value = shift = 0
    for position in range(offset, min(offset + MAX_LENGTH, len(data))):
        byte = data[position]
        if byte < 0x80:
            if byte == 0 and shift:
                raise VarintError("a varint ends in a byte that it does not need")
            return value | byte << shift, position + 1
        value |= (byte & 0x7F) << shift
        shift += 7
    if shift == 7 * MAX_LENGTH:
        raise VarintError(f"a varint is longer than {MAX_LENGTH} bytes")
    return None


def delimit(message: bytes) -> bytes:
    """Put a message's length before it, as most of libp2p's protocols do."""
    return encode(len(message)) + message
