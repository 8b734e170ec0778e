"""Base58 with Bitcoin's alphabet (draft-msporny-base58), for what is as short as a peer ID."""

from __future__ import annotations

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGITS = {character: digit for digit, character in enumerate(_ALPHABET)}

MAX_TEXT = 128
"""The time grows with the square of the length, so longer text is refused."""


def encode(data: bytes) -> str:
    """Return the text of some bytes; every leading zero byte is a leading ``1``."""
    number = int.from_bytes(data)
    characters = []
    while number:
        number, digit = divmod(number, 58)
        characters.append(_ALPHABET[digit])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return "1" * zeros + "".join(reversed(characters))


def decode(text: str) -> bytes:
    """Return the bytes of a text.

    Raises:
        ValueError: a character is not of the alphabet, or the text is longer than ``MAX_TEXT``.
    """
    if len(text) > MAX_TEXT:
        raise ValueError(f"base58 text longer than {MAX_TEXT} characters is not read here")
    number = 0
    for character in text:
        digit = _DIGITS.get(character)
        if digit is None:
            raise ValueError(f"{character!r} is not a base58 digit")
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8)
