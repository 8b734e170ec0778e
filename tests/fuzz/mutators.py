"""Ways to spoil a request: its bytes, its structure, its headers. All from one source of chance."""

from __future__ import annotations

import base64
import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

TOKENS = [
    b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\\u", b"\\ud800", b"\\u0000", b"\x00", b"\xff",
    b"\xc3", b"NaN", b"-Infinity", b"1e999", b"null", b"true", b"9" * 5000, b"[" * 3000, b'{"a":' * 3000,
    b"\n", b"'", b"#", b'[host."x"]\n', b"host = {}\n", b"'''", b'"""', b"server = 1\n", b"[host]\n",
]  # fmt: skip

VALUES: list[Any] = [
    None, True, False, 0, -1, 1 << 70, 1.5, "", "a", "ü\n\x00", "\ud83c\udf3b", "x" * 3000, [], {}, [[]],
    [None], {"": None}, [{}], "reconcile", "provision", "containerd", "_default", "localhost:5000", "b64",
    "remove", "http://localhost:5000", "HTTP://LOCALHOST:5000/", "2026-11-20T09:12:44Z", "migrate", "cilium",
    "/etc/containerd/certs.d/_default/hosts.toml", "/etc/containerd/certs.d/../hosts.toml", "/opt/bin/spegel",
    "io.containerd.grpc.v1.cri", "spegel.service", {"discard_unpacked_layers": True},
]  # fmt: skip


def spoil_bytes(chance: random.Random, data: bytes) -> bytes:
    """Flip, cut, repeat or insert at one to four places."""
    spoiled = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.randrange(len(spoiled) + 1)
        until = min(len(spoiled), at + chance.choice((1, 1, 4, 30, 400)))
        match chance.randrange(5):
            case 0 if at < len(spoiled):
                spoiled[at] ^= 1 << chance.randrange(8)
            case 1:
                del spoiled[at:until]
            case 2:
                spoiled[at:at] = spoiled[at:until]
            case 3:
                spoiled[at:at] = chance.choice(TOKENS)
            case _:
                spoiled[at:until] = chance.randbytes(until - at)
    return bytes(spoiled)


def spoil_structure(chance: random.Random, document: Any) -> Any:
    """Change one to four values somewhere in a copy of a JSON document."""
    spoiled = copy.deepcopy(document)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        _spoil_one(chance, spoiled)
    return spoiled


def _spoil_one(chance: random.Random, document: Any) -> None:
    collections = list(_collections(document))
    if not collections:
        return
    parent = chance.choice(collections)
    key = chance.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
    value = parent[key]
    match chance.randrange(8):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, list):
            parent.insert(key, value)
        case 1 | 2 if isinstance(parent, dict):
            parent[chance.choice((f"{key}x", key.upper(), "", "~/", "hostName"))] = value
        case 3 | 4 if isinstance(value, str):
            parent[key] = _spoil_text(chance, value)
        case 5 if isinstance(parent, list):
            chance.shuffle(parent)
        case 6:
            for _ in range(chance.choice((1, 1, 50, 50, 1500))):
                parent[key] = [parent[key]] if chance.random() < 0.5 else {"a": parent[key]}
        case _:
            parent[key] = copy.deepcopy(chance.choice(VALUES))


def _collections(value: Any) -> Iterator[Any]:
    """All objects and lists with something in them, so that the deep ones get their share."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict | list) and value:
            yield value
            waiting += value.values() if isinstance(value, dict) else value


def _spoil_text(chance: random.Random, text: str) -> str:
    """Spoil text and, where it is base64, what it stands for."""
    try:
        inside = base64.b64decode(text, validate=True) if len(text) > 8 else b""
    except ValueError:
        inside = b""
    if inside and chance.random() < 0.8:
        return base64.b64encode(spoil_bytes(chance, inside)).decode()
    return spoil_bytes(chance, text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")


def spoil_environ(chance: random.Random, environ: dict[str, Any]) -> None:
    """Change one header, the method or the path."""
    spoilers: list[Callable[[], object]] = [
        lambda: environ.update(CONTENT_TYPE=chance.choice(("", "text/plain", "\xff", "a/b;="))),
        lambda: environ.pop("CONTENT_TYPE", None),
        lambda: environ.update(HTTP_CONTENT_ENCODING=chance.choice(("gzip", "", "identity", "\xff"))),
        lambda: environ.update(REQUEST_METHOD=chance.choice(("GET", "PUT", "HEAD", "OPTIONS", "X" * 500))),
        lambda: environ.update(PATH_INFO=chance.choice(("", "/", "/webhooks", "//x", "/\xff/\x00", "*"))),
        lambda: environ.update(QUERY_STRING=chance.choice(("timeout=10s", "%", "&&=;", "\xff" * 50))),
        lambda: environ.update(CONTENT_LENGTH=chance.choice(("", "x", "-1", "0", "3", "1000000", "9" * 30))),
        lambda: environ.pop("CONTENT_LENGTH", None),
        lambda: environ.update(HTTP_HOST=chance.choice(("", "a b", "[::", "\xff", "x" * 5000))),
        lambda: environ.update(HTTP_ACCEPT=chance.choice(("", "*/*;q=x", "\x00"))),
        lambda: environ.update({"wsgi.input_terminated": True}),
    ]  # fmt: skip
    chance.choice(spoilers)()


def as_json(document: Any) -> bytes:
    """What the document is on the wire; lone surrogates stay the escapes that they are."""
    try:
        return json.dumps(document).encode()
    except RecursionError:
        return b"[" * 5000
