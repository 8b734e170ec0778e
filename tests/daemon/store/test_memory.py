"""The store that other tests use behaves as a store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from daemon.store.base import Event
from tests.daemon.images import TestImage
from tests.daemon.store.conformance import StoreConformance
from tests.daemon.store.memory import MemoryStore


class Memory:
    """The store, changed from any thread."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self._images: dict[str, TestImage] = {}
        loop, report = asyncio.get_running_loop(), self.store.report

        def report_on_loop(event: Event) -> None:
            loop.call_soon_threadsafe(report, event)

        self.store.report = report_on_loop  # type: ignore[method-assign]  # queues are not for threads

    def add(self, name: str, image: TestImage) -> None:
        self._images[name] = image
        self.store.add(name, image)

    def remove(self, name: str) -> None:
        self.store.remove_name(name)
        self.store.collect(self._images.pop(name))

    def restart(self, meanwhile: Callable[[], None]) -> None:
        meanwhile()


@pytest.fixture
async def harness() -> Memory:
    return Memory()


class TestConformance(StoreConformance):
    """With the fixture above."""

    test_open_files_stay_readable_when_the_content_goes = None
