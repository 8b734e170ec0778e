"""A store double whose content is in files, as both real stores' is."""

from __future__ import annotations

import os
from pathlib import Path

from daemon.oci.digest import Digest
from daemon.store.base import Content, NotFoundError
from daemon.store.files import FileContent
from tests.daemon.images import TestImage
from tests.daemon.store.memory import MemoryStore


class FileStore(MemoryStore):
    """Counts calls; knows which files are open."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory
        self.opened: list[FileContent] = []

    def path(self, digest: Digest) -> Path:
        return self.directory / digest.partition(":")[2]

    def add_content(self, digest: Digest, data: bytes, *sources: str) -> None:
        self.path(digest).write_bytes(data)
        super().add_content(digest, data, *sources)

    def collect(self, image: TestImage) -> None:
        for digest in image.blobs:
            self.path(digest).unlink()
        super().collect(image)

    async def open(self, digest: Digest) -> Content:
        self._called("open")
        try:
            content = FileContent(os.open(self.path(digest), os.O_RDONLY))
        except FileNotFoundError as error:
            raise NotFoundError(digest) from error
        self.opened.append(content)
        return content

    @property
    def still_open(self) -> int:
        return sum(content.fileno() >= 0 for content in self.opened)
