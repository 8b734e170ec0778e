"""What all tests of the daemon share."""

from __future__ import annotations

import asyncio

# The looptime plugin asks for the current event loop before every test, also where none is needed. Until one
# has been set, asyncio makes one for whoever asks, and nobody would close it.
asyncio.set_event_loop(None)
