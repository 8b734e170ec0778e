"""What all tests need."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest
from hypothesis import settings

# How long an example takes says nothing of the program: others may hold the processor meanwhile.
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")


def pytest_sessionstart() -> None:
    """Say that there is no event loop, as there is none between any two tests later.

    Otherwise the first question for one, by a plugin, makes one that nobody closes, and some later test fails
    for it.
    """
    asyncio.set_event_loop(None)


@pytest.fixture(autouse=True)
def _logging_ends_with_the_test() -> Iterator[None]:
    """Take back what a test has made of the root logger, as a program does when it starts."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    for handler in list(root.handlers):
        if handler not in handlers and not type(handler).__module__.startswith("_pytest."):
            root.removeHandler(handler)
