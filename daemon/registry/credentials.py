"""Basic authentication (RFC 7617), with one user name and one password out of a directory's files."""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass
from pathlib import Path

DIRECTORY = Path("/etc/secrets/basic-auth")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client has to know."""

    username: str
    password: str

    def __repr__(self) -> str:
        return "Credentials(...)"  # never in a log

    @property
    def header(self) -> str:
        """The value of the Authorization header field."""
        return f"Basic {base64.b64encode(f'{self.username}:{self.password}'.encode()).decode()}"

    def match(self, authorization: str | None) -> bool:
        """Compare with an Authorization header field, in a time that does not depend on the field's value."""
        scheme, _, encoded = (authorization or "").partition(" ")
        try:
            given = base64.b64decode(encoded.strip(" "), validate=True)
        except (binascii.Error, ValueError):
            given = b""
        expected = f"{self.username}:{self.password}".encode()
        return hmac.compare_digest(given, expected) and scheme.lower() == "basic"


def load_credentials(directory: Path = DIRECTORY) -> Credentials | None:
    """Read the files ``username`` and ``password``; None when both are missing or empty.

    As upstream has it, the files are taken as they are: a line end is part of the password.

    Raises:
        OSError: a file is there and cannot be read.
        UnicodeDecodeError: a file is not UTF-8.
    """
    username, password = _read(directory / "username"), _read(directory / "password")
    return Credentials(username, password) if username or password else None


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return ""
