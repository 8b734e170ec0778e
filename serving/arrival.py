"""How much of an HTTP/1 request has arrived; bytes in, an answer out, no sockets.

This is no parser: it says when a request is complete enough to be worth a thread, and errs on the side
of handing it on. What is odd is gunicorn's parser to judge, which then has it all.
"""

from __future__ import annotations

import re

MAX_HEADERS = 64
MAX_HEADER_BYTES = 4096
MAX_REQUEST_LINE_BYTES = 4094
_MAX_HEAD_BYTES = MAX_HEADERS * (MAX_HEADER_BYTES + 2) + MAX_REQUEST_LINE_BYTES + 8

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nexpect:", re.IGNORECASE)
_END = b"\r\n\r\n"


class Arrival:
    """One request on its way in."""

    def __init__(self, max_body_bytes: int) -> None:
        """Bodies beyond the limit are not waited for; the application refuses them."""
        self._max_body = max_body_bytes
        self._searched = 0
        self._head_length: int | None = None
        self._length: int | None = None  # of the whole request; None when only its end tells
        self.data = bytearray()

    def feed(self, data: bytes) -> bool:
        """Take the next bytes, and say whether a thread should take the request now."""
        self.data += data
        if self._head_length is None:
            self._find_head()
        if self._head_length is None:
            return len(self.data) > _MAX_HEAD_BYTES
        if self._length is not None:
            return len(self.data) >= self._length
        # Chunked. A last chunk, with or without trailers, ends so; other bytes may by chance, and are
        # then waited for by the thread.
        body = len(self.data) - self._head_length
        return (body > 0 and self.data.endswith(_END)) or body > self._max_body

    def _find_head(self) -> None:
        end = self.data.find(_END, self._searched)
        if end < 0:
            self._searched = max(0, len(self.data) - len(_END) + 1)
            return
        self._head_length = end + len(_END)
        head = bytes(self.data[: end + 2])
        length = _LENGTH.search(head)
        body = int(length[1]) if length else 0
        # A client that expects to be asked for the body sends none before.
        if _EXPECT.search(head) or body > self._max_body:
            self._length = self._head_length
        elif not _CHUNKED.search(head):
            self._length = self._head_length + body
