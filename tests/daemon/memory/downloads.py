"""Clients that throw away what they get, in the kernel: so that they are not what is slow."""

from __future__ import annotations

import re
import socket
import threading

from tests.daemon.cli.program import LIMIT

_STEP = 2**20
_SIP = 64 * 1024


class Download(threading.Thread):
    """One blob on its way to nowhere.

    Until ``hurry`` is set it takes so little that all buffers on the way are full, all the time.
    """

    def __init__(self, address: str, digest: str, hurry: threading.Event) -> None:
        super().__init__(daemon=True)
        self.error: Exception | None = None
        self.received = 0
        self.under_way = threading.Event()
        """Set with the first bytes of the body."""
        self._address = address
        self._digest = digest
        self._hurry = hurry

    def run(self) -> None:
        try:
            self._run()
        except Exception as error:  # noqa: BLE001  # the test looks at it
            self.error = error
        self.under_way.set()

    def _run(self) -> None:
        host, _, port = self._address.rpartition(":")
        with socket.create_connection((host, int(port)), LIMIT) as sock:
            question = f"GET /v2/library/app/blobs/{self._digest}?ns=docker.io HTTP/1.1\r\nHost: x\r\n\r\n"
            sock.sendall(question.encode())
            head = sock.recv(_SIP, socket.MSG_PEEK)
            end = head.index(b"\r\n\r\n") + 4
            sock.recv(end)
            found = re.search(rb"^HTTP/1.1 200 .*\r\nContent-Length: (\d+)\r\n", head, re.DOTALL)
            assert found, head[:300]
            length = int(found[1])
            buffer = bytearray(_STEP)
            while self.received < length:
                step = _STEP if self._hurry.is_set() else _SIP
                count = sock.recv_into(buffer, min(step, length - self.received), socket.MSG_TRUNC)
                assert count, f"cut after {self.received} of {length} bytes"
                self.received += count
                self.under_way.set()
                self._hurry.wait(1.0)

    def finish(self) -> int:
        """Wait for the end; return how many bytes came."""
        self.join()
        if self.error is not None:
            raise self.error
        return self.received
