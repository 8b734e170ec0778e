"""The key file: made once, found again, and never replaced behind its owner's back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from daemon.libp2p.identity import PrivateKey
from daemon.libp2p.key_file import KeyFileError, load_or_create

# What upstream Spegel writes: Go's x509.MarshalPKCS8PrivateKey in PEM. The key is RFC 8410's example.
GO_KEY = b"""-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
"""


def write(directory: Path, content: bytes, mode: int = 0o600) -> Path:
    path = directory / "private.key"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def pem(key: Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_a_key_is_made_once_and_found_again(tmp_path: Path) -> None:
    directory = tmp_path / "var" / "spegel"
    first = load_or_create(directory)
    assert load_or_create(directory).peer_id == first.peer_id
    assert (directory / "private.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in directory.iterdir()] == ["private.key"]


def test_the_umask_does_not_matter(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load_or_create(tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / "private.key").stat().st_mode & 0o777 == 0o600


def test_a_key_that_upstream_wrote_is_used(tmp_path: Path) -> None:
    write(tmp_path, GO_KEY)
    public = bytes.fromhex("19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1")
    assert load_or_create(tmp_path).public_key.data == public


def test_what_a_crash_left_behind_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "private.key.new").write_bytes(GO_KEY[:40])
    key = load_or_create(tmp_path)
    assert load_or_create(tmp_path).peer_id == key.peer_id
    assert not (tmp_path / "private.key.new").exists()


@pytest.mark.parametrize("size", [0, 1, 28, 60, len(GO_KEY) - 20])
def test_a_torn_file_is_told_and_kept(tmp_path: Path, size: int) -> None:
    path = write(tmp_path, GO_KEY[:size])
    with pytest.raises(KeyFileError, match=r"private\.key holds no whole private key"):
        load_or_create(tmp_path)
    assert path.read_bytes() == GO_KEY[:size]


@pytest.mark.parametrize(
    "content",
    [
        b"\xff" * 100,
        b"x" * 1_000_000,
        Ed25519PrivateKey.generate()
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        Ed25519PrivateKey.generate().private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        ),
        GO_KEY.replace(b"K2VwBCIE", b"K2VvBCIE"),
    ],
    ids=["noise", "large", "public", "der", "encrypted", "one bit of the type"],
)
def test_what_is_no_private_key_is_told(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, content)
    with pytest.raises(KeyFileError, match=r"private\.key holds no whole private key"):
        load_or_create(tmp_path)


@pytest.mark.parametrize(
    "key",
    [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())],
    ids=["rsa", "ecdsa"],
)
def test_a_key_of_another_type_is_told(
    tmp_path: Path, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
) -> None:
    write(tmp_path, pem(key))
    with pytest.raises(KeyFileError, match="not an Ed25519 key"):
        load_or_create(tmp_path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622, 0o611])
def test_a_key_that_others_can_use_is_told(tmp_path: Path, mode: int) -> None:
    write(tmp_path, GO_KEY, mode)
    with pytest.raises(KeyFileError, match=f"mode {mode:04o}.*chmod 600"):
        load_or_create(tmp_path)


def test_a_directory_in_the_files_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "private.key").mkdir(mode=0o700)
    with pytest.raises(KeyFileError, match="cannot be kept: Is a directory"):
        load_or_create(tmp_path)


def test_a_link_to_nothing_is_told_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "private.key"
    path.symlink_to(tmp_path / "volume" / "private.key")
    with pytest.raises(KeyFileError, match=r"private\.key is a link to what is not there"):
        load_or_create(tmp_path)
    assert path.is_symlink()


def test_a_pipe_in_the_files_place_is_told_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "private.key", 0o600)
    with pytest.raises(KeyFileError, match="not a regular file"):
        load_or_create(tmp_path)


def test_a_data_directory_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(KeyFileError, match="cannot be kept: Not a directory"):
        load_or_create(tmp_path / "data")


def test_the_file_is_a_plain_pkcs8_key(tmp_path: Path) -> None:
    key = PrivateKey(load_or_create(tmp_path).ed25519)
    assert (tmp_path / "private.key").read_bytes() == pem(key.ed25519)
