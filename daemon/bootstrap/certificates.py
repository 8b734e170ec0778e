"""What the connection to the bootstrapper is secured with: files in one directory, as upstream names them."""

from __future__ import annotations

import ssl
from pathlib import Path


class CertificateError(Exception):
    """The files cannot be used; the message says why."""


def client_context(directory: Path | None) -> ssl.SSLContext:
    """Read the files of a directory: ``ca.crt``, and ``tls.crt`` with ``tls.key``. Each may be missing.

    Without an authority the system's are trusted. Certificates are judged as Go does, in which
    upstream is written: extensions that OpenSSL asks for since Python 3.13 are not needed.

    Raises:
        CertificateError: a file cannot be read or used, or there is a certificate without key or key without
            certificate.
    """
    try:
        authority = _read(directory, "ca.crt")
        has_certificate, has_key = bool(_read(directory, "tls.crt")), bool(_read(directory, "tls.key"))
        context = ssl.create_default_context(cadata=authority or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if directory is not None and (has_certificate or has_key):
            if not (has_certificate and has_key):
                missing = "tls.crt" if has_key else "tls.key"
                raise CertificateError(f"{directory}: a certificate needs its key, but {missing} is missing")
            context.load_cert_chain(directory / "tls.crt", directory / "tls.key", password=_no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise CertificateError(f"the certificates in {directory} cannot be used: {error}") from error
    return context


def _read(directory: Path | None, name: str) -> str:
    try:
        return (directory / name).read_text("ascii", "replace") if directory is not None else ""
    except FileNotFoundError:
        return ""


def _no_password() -> str:
    raise ValueError("the key is encrypted")
