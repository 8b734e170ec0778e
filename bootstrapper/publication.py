"""What one process knows of the nodes, for all processes of a server.

There is one watch, however many processes answer: each tries to lock a file, the one that has the lock
follows the source, and when it ends, however it ends, the kernel gives the lock to another. It writes what is
to be answered into a file in memory, which each process reads when it has been replaced. A lock needs no
supervision and no messages, and the last answer outlives the process that wrote it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bootstrapper.answers import Answers, Selection


class Publication:
    """Some files in a directory."""

    def __init__(self, directory: Path) -> None:
        self._lock_file = directory / "lock"
        self._file = directory / "answers.json"
        self._heard_file = directory / "heard"
        self._written: Selection | None = None
        self._guard = threading.Lock()
        self._read: tuple[object, Answers | None] = (None, None)

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until no other process writes."""
        with self._lock_file.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def write(self, selection: Selection) -> None:
        """Let everyone answer with this from now on."""
        if selection != self._written:
            text = json.dumps(
                {"entries": selection.entries, "topology": selection.topology, "counts": selection.counts}
            )
            new = self._file.with_suffix(".new")
            new.write_text(text)
            new.replace(self._file)
            self._written = selection

    def heard(self) -> None:
        """Say that what is written is true now."""
        try:
            os.utime(self._heard_file)
        except FileNotFoundError:
            self._heard_file.touch()

    def age(self) -> float | None:
        """Return for how many seconds nothing has been heard; None before the first time."""
        try:
            return max(0.0, time.time() - self._heard_file.stat().st_mtime)
        except FileNotFoundError:
            return None

    def answers(self) -> Answers | None:
        """Return what to answer; None as long as no nodes have been read."""
        try:
            stat = self._file.stat()
        except FileNotFoundError:
            return None
        identity = stat.st_ino, stat.st_mtime_ns, stat.st_size
        seen, answers = self._read
        if identity != seen:
            with self._guard:
                seen, answers = self._read
                if identity != seen:
                    document = json.loads(self._file.read_bytes())
                    document["entries"] = tuple(document["entries"])
                    answers = Answers(Selection(**document))
                    # It may have been replaced after its identity was taken: then it is read once more.
                    self._read = identity, answers
        return answers
