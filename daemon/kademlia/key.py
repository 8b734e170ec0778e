"""Keys and the space they lie in.

Contents are looked up under keys, nodes have peer IDs. The SHA-256 hash of either, as a number, is its
position in one space; the distance of two positions is their exclusive or. A prefix, some leading bits, is
a part of the space: the distance of two positions in one part is less than to any position outside.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from random import Random

BITS = 256

MAX_KEY = 80
"""Bytes of a key that a request may have, as go-libp2p-kad-dht has it."""

MAX_PREFIX = 14
"""Bits of the longest prefix that keys are made for: it takes two to this power attempts, some 10 ms."""

_SHA256 = b"\x12\x20"  # multihash: the function's code, the digest's length


def content_key(text: str) -> bytes:
    """Return the key of a digest or an image's name: the SHA-256 multihash of the text."""
    return _SHA256 + hashlib.sha256(text.encode()).digest()


@functools.lru_cache(maxsize=4096)
def position(raw: bytes) -> int:
    """Return where a key or a peer ID lies."""
    return int.from_bytes(hashlib.sha256(raw).digest())


def common_prefix(one: int, other: int) -> int:
    """Return how many leading bits two positions share."""
    return BITS - (one ^ other).bit_length()


def key_under(prefix: int, length: int, random: Random) -> bytes:
    """Return a random key whose position begins with the ``length`` lowest bits of ``prefix``.

    Raises:
        ValueError: the prefix is longer than ``MAX_PREFIX``.
    """
    if length > MAX_PREFIX:
        raise ValueError(f"a prefix of {length} bits takes too long to find a key for")
    shift = BITS - length
    start = random.getrandbits(BITS - 1)
    keys = (_SHA256 + number.to_bytes(32) for number in itertools.count(start))
    return next(key for key in keys if int.from_bytes(hashlib.sha256(key).digest()) >> shift == prefix)
