from __future__ import annotations

import asyncio
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.systemd import Notifier
from tests.virtual_time import virtual_time


class Manager:
    """The service manager's end."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(20)

    def receive(self) -> str:
        return self.socket.recv(100).decode()

    def silent(self, seconds: float) -> bool:
        self.socket.settimeout(seconds)
        try:
            self.socket.recv(100)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(20)
        return False


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Manager, str]]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@spegel-{secrets.token_hex(8)}"
    manager = Manager(name.replace("@", "\0"))
    yield manager, name
    manager.socket.close()


def test_ready_and_stopping(manager: tuple[Manager, str]) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager[1]})
    notifier.ready()
    assert manager[0].receive() == "READY=1"
    notifier.stopping()
    assert manager[0].receive() == "STOPPING=1"


@virtual_time
async def test_pings_come_twice_as_often_as_systemd_waits(manager: tuple[Manager, str]) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager[1], "WATCHDOG_USEC": "30000000"})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(44):
            await notifier.watchdog()
    for _ in range(3):  # at 0, 15 and 30 seconds
        assert manager[0].receive() == "WATCHDOG=1"
    assert manager[0].silent(0.001)


def test_a_hung_event_loop_stops_the_pings(manager: tuple[Manager, str]) -> None:
    hung, go_on = threading.Event(), threading.Event()

    async def run() -> None:
        notifier = Notifier({"NOTIFY_SOCKET": manager[1], "WATCHDOG_USEC": "10000"})
        pinging = asyncio.create_task(notifier.watchdog())
        await asyncio.sleep(0)
        hung.set()
        go_on.wait(20)  # as a lock or a slow disk would, in the event loop's own thread
        await asyncio.sleep(0.02)
        pinging.cancel()

    thread = threading.Thread(target=asyncio.run, args=[run()])
    thread.start()
    try:
        assert hung.wait(20)
        assert manager[0].receive() == "WATCHDOG=1"
        assert manager[0].silent(0.1)
        go_on.set()
        assert manager[0].receive() == "WATCHDOG=1"
    finally:
        go_on.set()
        thread.join(20)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1000000000"},
    ],
)
@virtual_time
async def test_nobody_is_pinged_who_did_not_ask(
    manager: tuple[Manager, str], environment: dict[str, str]
) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager[1], **environment})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(100):
            await notifier.watchdog()
    assert manager[0].silent(0.001)


@pytest.mark.parametrize("process", [os.getpid(), os.getppid()], ids=["process", "launcher"])
@virtual_time
async def test_the_process_and_the_launcher_that_it_is_a_child_of_are_meant(
    manager: tuple[Manager, str], process: int
) -> None:
    environment = {"NOTIFY_SOCKET": manager[1], "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(process)}
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await Notifier(environment).watchdog()
    assert manager[0].receive() == "WATCHDOG=1"


def test_without_systemd_nothing_is_said() -> None:
    Notifier({}).ready()


def test_a_manager_that_is_gone_does_no_harm(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()
    assert "systemd cannot be told READY=1" in caplog.text
