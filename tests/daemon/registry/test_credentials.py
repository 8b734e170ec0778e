"""Basic authentication."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from daemon.registry.credentials import Credentials, load_credentials

KNOWN = Credentials("spegel", "p:ä ss")


def basic(text: bytes, scheme: str = "Basic") -> str:
    return f"{scheme} {base64.b64encode(text).decode()}"


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC", "Basic "])
def test_who_knows_is_let_in(scheme: str) -> None:
    assert KNOWN.match(basic("spegel:p:ä ss".encode(), scheme))
    assert KNOWN.match(KNOWN.header)


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic ä",
        basic(b""),
        basic(b":"),
        basic(b"spegel"),
        basic(b"spegel:"),
        basic(b"spegel:wrong"),
        basic(b"wrong:p:\xc3\xa4 ss"),
        basic(b"spegel:p:\xe4 ss"),
        basic("spegel:p:ä ss\n".encode()),
        basic("spegel:p:ä ss".encode(), "Bearer"),
        basic("spegel:p:ä ss".encode())[:-1],
        basic("spegel:p:ä ss".encode()) + " x",
        "spegel:p:ä ss",
    ],
)
def test_who_does_not_is_not(authorization: str | None) -> None:
    assert not KNOWN.match(authorization)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"username": "", "password": ""}, None),
        ({"username": "a", "password": "b"}, ("a", "b")),
        ({"username": "a"}, ("a", "")),
        ({"password": "b"}, ("", "b")),
        ({"username": "a", "password": "b\n"}, ("a", "b\n")),
    ],
)
def test_files(tmp_path: Path, files: dict[str, str], expected: tuple[str, str] | None) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    loaded = load_credentials(tmp_path)
    assert (loaded and (loaded.username, loaded.password)) == expected


def test_no_directory_is_no_credentials(tmp_path: Path) -> None:
    assert load_credentials(tmp_path / "absent") is None


def test_nothing_shows_the_password() -> None:
    assert "ss" not in f"{KNOWN} {KNOWN!r}"
