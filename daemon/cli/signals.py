"""SIGTERM and SIGINT as an event."""

from __future__ import annotations

import asyncio
import signal


def stop_requested() -> asyncio.Event:
    """Return an event that is set when the process is asked to stop. For the running event loop."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, event.set)
    return event
