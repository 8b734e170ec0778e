"""``python -m controller run`` as it runs in a pod."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import yaml

from controller.operator.resources import LEASE
from controller.operator.run import LEADER_LEASE
from tests.controller.seed import Seed


class Controller:
    """One process."""

    def __init__(self, process: Process, port: int) -> None:
        self.process = process
        self.port = port
        self.lines: list[dict[str, Any]] = []
        self.is_killed = False
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            text = line.decode()
            is_json = text.startswith("{")
            self.lines.append(json.loads(text) if is_json else {"level": "CRITICAL", "message": text})

    async def kill(self) -> None:
        """End it without a chance to do anything about it."""
        self.is_killed = True
        self.process.kill()
        await self.process.wait()

    async def end(self) -> int:
        """Tell it to stop, and return its exit status."""
        if self.process.returncode is None:
            self.process.terminate()
        async with asyncio.timeout(30):
            status = await self.process.wait()
            await self._reading
        return status


@contextlib.asynccontextmanager
async def controller(
    seed: Seed, directory: Path, *flags: str, token: str | None = None, is_silent: bool = True
) -> AsyncIterator[Controller]:
    """A process with credentials of its own; it must end well, and in silence without a traceback.

    A real API server knows only the administrator's credentials, unless a token of its own is given.
    """
    file = directory / "controller.kubeconfig"
    config = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    token = token or (None if seed.server is None else "controller")
    if token is not None:
        config["users"][0]["user"] = {"token": token}
    file.write_text(yaml.safe_dump(config))
    port = _free_port()
    arguments = ["run", "--namespace", seed.own_namespace, "--kubeconfig", str(file)]
    arguments += ["--address", "127.0.0.1", "--health-port", str(port), *flags]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-m", "controller", *arguments, stderr=PIPE
    )
    running = Controller(process, port)
    try:
        yield running
    finally:
        status = await running.end()
    errors = [line for line in running.lines if line["level"] in {"ERROR", "CRITICAL"}]
    said = "\n".join(f"{line.get('time')} {line['message']}" for line in running.lines)
    assert status == (-signal.SIGKILL if running.is_killed else 0), said
    assert not (is_silent and [line for line in errors if "exc_info" in line]), errors


async def until_leading(seed: Seed, *others: str | None) -> str:
    """Wait until somebody leads who is none of these, and return who."""
    found = await seed.until(
        LEASE,
        LEADER_LEASE,
        lambda lease: bool(lease) and lease["spec"]["holderIdentity"] not in {"", *others},
        seed.own_namespace,
        60,
    )
    assert found is not None
    return str(found["spec"]["holderIdentity"])


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
