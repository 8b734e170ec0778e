"""Work in steps whenever a socket is ready: that costs less than to wake a task for each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

Step = Callable[[], bool]
"""Does what can be done at once; returns whether there is more to do. BlockingIOError is no failure of it."""


def take_turn(ended: asyncio.Future[None], step: Step) -> None:
    """Take a step, as the event loop's callback for a socket; ``ended`` gets its failure or the end."""
    if ended.done():
        return
    try:
        more = step()
    except BlockingIOError:
        return
    except Exception as error:  # noqa: BLE001  # whoever waits for the end gets it
        ended.set_exception(error)
        return
    if not more:
        ended.set_result(None)
