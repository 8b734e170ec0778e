"""The serving certificate and its renewal."""

from __future__ import annotations

import ssl
from datetime import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from demo.certificates import Authority
from serving.certificate import Certificate, CertificateError


class Files:
    def __init__(self, directory: Path) -> None:
        self.authority = Authority()
        self.certificate = directory / "tls.crt"
        self.key = directory / "tls.key"
        self.ends: list[datetime] = []
        self.write(self.authority.issue())

    def write(self, pair: tuple[bytes, bytes]) -> None:
        self.certificate.write_bytes(pair[0])
        self.key.write_bytes(pair[1])

    def load(self) -> Certificate:
        certificate = Certificate(self.certificate, self.key)
        certificate.tell(self.ends.append)
        return certificate


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_a_context_for_tls_1_2_and_newer(files: Files) -> None:
    context = files.load().context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_NONE


def test_the_same_files_are_loaded_once(files: Files) -> None:
    certificate = files.load()
    assert certificate.context() is certificate.context()
    assert len(files.ends) == 1


def test_renewed_files_are_taken_and_their_end_is_told(files: Files) -> None:
    certificate = files.load()
    before = certificate.context()
    files.write(files.authority.issue(days=9))
    assert certificate.context() is not before
    assert (files.ends[1] - files.ends[0]).days == 8


def test_a_mounted_secret_is_swapped_by_its_symbolic_link(tmp_path: Path, files: Files) -> None:
    link = tmp_path / "..data"
    for name in ("one", "two"):
        pair = files.authority.issue()
        (tmp_path / name).mkdir()
        (tmp_path / name / "tls.crt").write_bytes(pair[0])
        (tmp_path / name / "tls.key").write_bytes(pair[1])
    link.symlink_to("one")
    certificate = Certificate(link / "tls.crt", link / "tls.key")
    before = certificate.context()
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").replace(link)
    assert certificate.context() is not before


def test_while_only_one_file_is_renewed_the_old_pair_stays(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = files.load()
    before = certificate.context()
    renewed = files.authority.issue()
    files.certificate.write_bytes(renewed[0])
    assert certificate.context() is before
    assert certificate.context() is before
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert str(files.key) in caplog.text
    files.key.write_bytes(renewed[1])
    assert certificate.context() is not before


@pytest.mark.parametrize("content", [None, b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_broken_or_missing_files_leave_the_old_pair(files: Files, content: bytes | None) -> None:
    certificate = files.load()
    before = certificate.context()
    files.certificate.unlink()
    if content is not None:
        files.certificate.write_bytes(content)
    assert certificate.context() is before
    with pytest.raises(CertificateError, match=r"tls.crt and .*tls.key: "):
        files.load()


def test_a_key_with_a_password_is_refused_rather_than_asked_for(files: Files) -> None:
    certificate, key = files.authority.issue()
    encryption = serialization.BestAvailableEncryption(b"password")
    encrypted = serialization.load_pem_private_key(key, password=None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
    files.write((certificate, encrypted))
    with pytest.raises(CertificateError, match=r"tls.key: "):
        files.load()
