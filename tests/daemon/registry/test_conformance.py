"""The conformance suite with a store in memory and one in an image layout."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.daemon.images import TestImage
from tests.daemon.registry.conformance import RegistryConformance
from tests.daemon.store.memory import MemoryStore
from tests.daemon.store.test_layout import Layout


class Memory:
    """A store in memory as the stores' suite wants it."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.images: dict[str, TestImage] = {}

    def add(self, name: str, image: TestImage) -> None:
        self.images[name] = image
        self.store.add(name, image)

    def remove(self, name: str) -> None:
        image = self.images.pop(name)
        self.store.remove_name(name)
        if image not in self.images.values():
            self.store.collect(image)

    def restart(self, meanwhile: Callable[[], None]) -> None:
        meanwhile()


class TestMemory(RegistryConformance):
    @pytest.fixture
    def harness(self) -> Memory:
        return Memory()


class TestLayout(RegistryConformance):
    @pytest.fixture
    async def harness(self, tmp_path: Path) -> AsyncIterator[Layout]:
        layout = Layout(tmp_path / "layout")
        yield layout
        await layout.store.close()
