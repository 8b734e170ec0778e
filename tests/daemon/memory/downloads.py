"""Clients that throw away what they get, in the kernel: so that they are not what is slow."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tests import network_namespace
from tests.daemon.cli.program import LIMIT
from tests.interop.namespaces import Machine

_STEP = 2**20
_SIP = 64 * 1024

T = TypeVar("T")


def enter(machine: Machine) -> None:
    """Move this thread to a machine: the sockets that it makes from now on are there."""
    network_namespace.enter(f"/run/netns/{machine.namespace}")


def at(machine: Machine, work: Callable[[], T]) -> T:
    """Do something on a machine."""
    with ThreadPoolExecutor(1, initializer=enter, initargs=(machine,)) as executor:
        return executor.submit(work).result()


class Download(threading.Thread):
    """One blob on its way from a machine's daemon to nowhere.

    Until ``hurry`` is set it takes so little that all buffers on the way are full, all the time.
    """

    def __init__(self, machine: Machine, digest: str, hurry: threading.Event) -> None:
        super().__init__(daemon=True)
        self.error: Exception | None = None
        self.received = 0
        self.under_way = threading.Event()
        """Set with the first bytes of the body."""
        self._machine = machine
        self._digest = digest
        self._hurry = hurry

    def run(self) -> None:
        try:
            enter(self._machine)
            self._download()
        except Exception as error:  # noqa: BLE001  # the test looks at it
            self.error = error
        self.under_way.set()

    def _download(self) -> None:
        with socket.create_connection(("127.0.0.1", 5000), LIMIT) as sock:
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
