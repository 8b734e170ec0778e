"""The request that one node sends to another."""

from __future__ import annotations

import base64
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING
from urllib.parse import quote

from daemon.oci.descriptor import MANIFEST_MEDIA_TYPES

if TYPE_CHECKING:
    from daemon.mirror.wanted import Wanted

_ANY_MANIFEST = ", ".join(sorted(MANIFEST_MEDIA_TYPES))


def compose(
    wanted: Wanted, address: IPv4Address | IPv6Address, port: int, credentials: tuple[str, str] | None
) -> bytes:
    """Return the head of the request; its ``X-Spegel-Mirrored`` keeps the peer from asking others in turn."""
    host = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
    path = f"/v2/{quote(wanted.name)}/{wanted.kind}s/{quote(wanted.reference, safe=':')}"
    if wanted.registry:
        path += f"?ns={quote(wanted.registry, safe='')}"
    lines = [f"{wanted.method} {path} HTTP/1.1", f"Host: {host}", "User-Agent: spegel"]
    if wanted.kind == "manifest":
        lines.append(f"Accept: {wanted.accept or _ANY_MANIFEST}")
    if wanted.range is not None:
        first, last = wanted.range
        lines.append(f"Range: bytes={'' if first is None else first}-{'' if last is None else last}")
    if credentials is not None:
        lines.append(f"Authorization: Basic {base64.b64encode(':'.join(credentials).encode()).decode()}")
    lines.append("X-Spegel-Mirrored: true")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
