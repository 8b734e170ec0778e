"""Reading content that may be a manifest."""

from __future__ import annotations

from daemon.oci.manifest import MAX_MANIFEST_SIZE
from daemon.store.base import Content, StoreError

_HEAD = 4096


async def read_document(content: Content) -> bytes:
    """Return the whole of content that may be a JSON document; only the start of any other, such as a layer.

    Raises:
        StoreError: the content ends early or cannot be read.
    """
    head = await _read(content, 0, min(content.size, _HEAD))
    if content.size > MAX_MANIFEST_SIZE or not head.lstrip(b" \t\r\n").startswith(b"{"):
        return head
    return head + await _read(content, len(head), content.size - len(head))


async def _read(content: Content, offset: int, count: int) -> bytes:
    parts: list[bytes] = []
    while count > 0:
        try:
            part = await content.read(offset, count)
        except OSError as error:
            raise StoreError(f"content cannot be read: {error}") from error
        if not part:
            raise StoreError(f"content ends at byte {offset}, {count} bytes early")
        parts.append(part)
        offset += len(part)
        count -= len(part)
    return b"".join(parts)
