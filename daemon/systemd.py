"""What systemd is told: started, stopping, still alive (sd_notify(3), sd_watchdog_enabled(3))."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Mapping

logger = logging.getLogger(__name__)


class Notifier:
    """Speaks to the service manager that started this process, to nobody if there is none."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID."""
        self._address = _socket_address(environment.get("NOTIFY_SOCKET", ""))
        self._interval = _watchdog_interval(environment)

    def ready(self) -> None:
        """Say that the service is up."""
        self._send("READY=1")

    def stopping(self) -> None:
        """Say that the service is ending."""
        self._send("STOPPING=1")

    async def watchdog(self) -> None:
        """Ping until cancelled, if asked to.

        Pings come out of the event loop and from nowhere else: when it hangs, so do they, and systemd
        starts the service anew.
        """
        if self._address is None or self._interval is None:
            await asyncio.get_running_loop().create_future()
            return
        while True:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self._interval)

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(0)
            try:
                sender.sendto(message.encode(), self._address)
            except OSError as error:
                logger.warning("systemd cannot be told %s: %s", message, error)


def _socket_address(text: str) -> str | None:
    """Return the address of a socket in the file system, or (after an @) in the abstract namespace."""
    if text.startswith("@"):
        return f"\0{text[1:]}"
    return text if text.startswith("/") else None


def _watchdog_interval(environment: Mapping[str, str]) -> float | None:
    """Return the seconds between two pings, half of what systemd waits; None when nobody waits.

    The variables may be meant for another process, out of whose environment they were inherited. A packed
    program runs as the child of its launcher, so what is meant for the parent is meant for this process
    (the unit needs NotifyAccess=all then).
    """
    text = environment.get("WATCHDOG_USEC", "")
    process = environment.get("WATCHDOG_PID", "")
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        return None
    if process and process not in {str(os.getpid()), str(os.getppid())}:
        return None
    return int(text) / 1e6 / 2
