"""The serving certificate and the authorities of the clients, read again when their files change.

Kubernetes renews a Secret's files under a running process, and a controller may write certificate and
key one after the other. Each new connection asks for the current TLS context; what is on disk is taken
when it is complete and fits together, and until then what was good last serves on.

Each context has ticket keys of its own, so a session that was begun before a change cannot be resumed after
it: a client whose authority is gone has to show its certificate again, and is refused.
"""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from cryptography import x509

_log = logging.getLogger(__name__)

_Identity = tuple[tuple[int, ...], ...]


class CertificateError(Exception):
    """A certificate, its key or the authorities cannot be used; the message names the files."""


class Certificate:
    """A certificate (with its chain) and its key, as a TLS context for a server."""

    def __init__(self, certificate: Path, key: Path, authorities: Path | None = None) -> None:
        """Load the files.

        Args:
            certificate: the serving certificate and its chain, PEM.
            key: its private key, PEM, without a password.
            authorities: any number of authorities, PEM. When given, clients must have a certificate of one
                of them.

        Raises:
            CertificateError: the files cannot be read or do not fit together; the message says which.
        """
        self._certificate = certificate
        self._key = key
        self._authorities = authorities
        self._on_load: Callable[[datetime], None] = lambda _: None
        self._lock = threading.Lock()
        self._seen = self._identity()
        self._context, self._end = self._load()

    def tell(self, on_load: Callable[[datetime], None]) -> None:
        """Call when the certificate ends, now and whenever another has been taken."""
        with self._lock:
            self._on_load = on_load
            on_load(self._end)

    def context(self) -> ssl.SSLContext:
        """Return the context for a new connection."""
        with self._lock:
            try:
                identity = self._identity()
                if identity != self._seen:
                    # Remembered before the files are read: a change in between is seen next time.
                    self._seen = identity
                    self._context, self._end = self._load()
                    self._on_load(self._end)
                    _log.info("took the renewed certificate")
            except CertificateError as error:
                _log.error("kept the old certificate: %s", error)
            return self._context

    def _identity(self) -> _Identity:
        """What changes when the files do, through the symbolic links of a mounted Secret."""
        paths = (self._certificate, self._key, self._authorities)
        try:
            stats = [path.stat() for path in paths if path is not None]
        except OSError:
            return ()
        return tuple((s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in stats)

    def _load(self) -> tuple[ssl.SSLContext, datetime]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            # A password is never asked for on a terminal.
            context.load_cert_chain(self._certificate, self._key, password="")
            end = x509.load_pem_x509_certificate(self._certificate.read_bytes()).not_valid_after_utc
        except (OSError, ValueError) as error:
            raise CertificateError(f"{self._certificate} and {self._key}: {_reason(error)}") from error
        if self._authorities is not None:
            try:
                context.load_verify_locations(self._authorities)
            except OSError as error:
                raise CertificateError(f"{self._authorities}: {_reason(error)}") from error
            context.verify_mode = ssl.CERT_REQUIRED
        return context, end


def _reason(error: Exception) -> object:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or error
