"""The processes of the demo end together."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from demo.errors import DemoError
from demo.processes import Process, Processes

ENDS = "import sys; print('out of tea'); sys.exit(3)"
STAYS = "import signal; signal.pause()"


async def tell(directory: Path, started: list[Process], error: Exception | None) -> None:
    """Run a process that stays and one that ends; what is done with them goes on, or breaks."""
    async with Processes(directory) as processes:
        for name, code in (("cup", STAYS), ("kettle", ENDS)):
            started.append(await processes.start(name, [sys.executable, "-c", code]))
        if error is not None:
            raise error
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    "error",
    # A process that is ending breaks connections, say, before its end is known.
    [None, ConnectionResetError()],
    ids=["that is noticed", "that has been felt before"],
)
async def test_one_that_ends_ends_the_others_and_tells_why(tmp_path: Path, error: Exception | None) -> None:
    started: list[Process] = []
    with pytest.raises(DemoError, match=r"^kettle ended with status 3\..*\n  out of tea$"):
        await tell(tmp_path, started, error)
    assert all(process.child.returncode is not None for process in started)
