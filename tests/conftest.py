"""What all tests need."""

from __future__ import annotations

import asyncio


def pytest_sessionstart() -> None:
    """Say that there is no event loop, as there is none between any two tests later.

    Otherwise the first question for one, by a plugin, makes one that nobody closes, and some later test fails
    for it.
    """
    asyncio.set_event_loop(None)
