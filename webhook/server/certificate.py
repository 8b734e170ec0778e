"""The serving certificate, read again when its files change.

Kubernetes renews a Secret's files under a running process, and a controller may write certificate and
key one after the other. Each new connection asks for the current TLS context; what is on disk is taken
when it is complete and fits together, and until then the last good pair serves on.
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
    """A certificate or its key cannot be used; the message names the files."""


class Certificate:
    """A certificate (with its chain) and its key, as a TLS context for a server."""

    def __init__(self, certificate: Path, key: Path, on_load: Callable[[datetime], None]) -> None:
        """Load the pair; ``on_load`` is told each time when the certificate ends.

        Raises:
            CertificateError: the files cannot be read or do not fit together; the message says which.
        """
        self._certificate = certificate
        self._key = key
        self._on_load = on_load
        self._lock = threading.Lock()
        self._seen = self._identity()
        self._context = self._load()

    def context(self) -> ssl.SSLContext:
        """Return the context for a new connection."""
        with self._lock:
            try:
                identity = self._identity()
                if identity != self._seen:
                    # Remembered before the files are read: a change in between is seen next time.
                    self._seen = identity
                    self._context = self._load()
                    _log.info("took the renewed certificate")
            except CertificateError as error:
                _log.error("kept the old certificate: %s", error)
            return self._context

    def _identity(self) -> _Identity:
        """What changes when the files do, through the symbolic links of a mounted Secret."""
        try:
            stats = [path.stat() for path in (self._certificate, self._key)]
        except OSError:
            return ()
        return tuple((s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in stats)

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            # A password is never asked for on a terminal.
            context.load_cert_chain(self._certificate, self._key, password="")
            end = x509.load_pem_x509_certificate(self._certificate.read_bytes()).not_valid_after_utc
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            raise CertificateError(f"{self._certificate} and {self._key}: {reason}") from error
        self._on_load(end)
        return context
