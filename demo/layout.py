"""A node's images: a directory in the OCI image layout, in place of containerd's store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from demo.errors import DemoError


class Layout:
    """Takes content while the daemon reads it."""

    def __init__(self, root: Path) -> None:
        """Make an empty one."""
        self.root = root
        self._blobs = root / "blobs" / "sha256"
        self._ingest = root / "ingest"
        self._images: dict[str, Mapping[str, Any]] = {}
        self._blobs.mkdir(parents=True)
        self._ingest.mkdir()
        (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        self._write_index()

    def read(self, digest: str) -> bytes:
        """Return content."""
        return (self._blobs / digest.removeprefix("sha256:")).read_bytes()

    @contextmanager
    def writing(self, digest: str) -> Iterator[Writer]:
        """Take content, which is there from the end on, if it is what its digest says.

        Raises:
            DemoError: it is not.
        """
        name = digest.removeprefix("sha256:")
        path = self._ingest / name
        with path.open("wb") as file:
            writer = Writer(file)
            yield writer
        if writer.hexdigest != name:
            raise DemoError(f"{digest} is something else: sha256:{writer.hexdigest}")
        path.rename(self._blobs / name)

    def tag(self, name: str, descriptor: Mapping[str, Any]) -> None:
        """Give an image its full name, as ``docker.io/library/alpine:3.20``."""
        self._images[name] = {**descriptor, "annotations": {"io.containerd.image.name": name}}
        self._write_index()

    def _write_index(self) -> None:
        path = self._ingest / "index.json"
        path.write_text(json.dumps({"schemaVersion": 2, "manifests": [*self._images.values()]}))
        path.rename(self.root / "index.json")


class Writer:
    """Writes and hashes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Take some more bytes."""
        self._hash.update(data)
        self._file.write(data)

    @property
    def hexdigest(self) -> str:
        """The digest of all that was written."""
        return self._hash.hexdigest()
