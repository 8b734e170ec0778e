"""The webhook as a server: which application, where it listens, what it reads from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from serving import logs, server
from serving.certificate import Certificate
from webhook.context.api_server import ApiServer
from webhook.settings import ServerSettings

if TYPE_CHECKING:
    from flask import Flask

_KEEPALIVE_SECONDS = 120  # longer than an API server keeps an idle connection (90 s), so that it closes
_CONNECTIONS = 512


def serve(settings: ServerSettings) -> None:
    """Serve until told to stop by SIGTERM or SIGINT; ends by SystemExit.

    Raises:
        LandscapeError: there is no usable configuration for the API server.
        CertificateError: the certificate cannot be used.
    """
    logs.configure(settings.log_level)
    landscape = ApiServer(
        settings.kubeconfig, timeout_seconds=settings.api_timeout_seconds, connections=settings.threads
    )
    certificate = None
    if settings.tls_certificate is not None and settings.tls_key is not None:
        certificate = Certificate(settings.tls_certificate, settings.tls_key)

    def load(_directory: Path) -> Flask:
        from webhook.server import metrics  # noqa: PLC0415 - see serving.figures
        from webhook.server.app import create_app  # noqa: PLC0415 - imports it too

        if certificate is not None:
            certificate.tell(lambda end: metrics.CERTIFICATE_EXPIRY.set(end.timestamp()))
        readiness = ApiServer(
            settings.kubeconfig, timeout_seconds=settings.readiness_timeout_seconds, connections=1
        )
        return create_app(settings, landscape, readiness.version)

    options = server.Options(
        name="registry-spegel-webhook",
        listeners=(
            server.Listener(settings.address, settings.port, certificate.context if certificate else None),
        ),
        workers=settings.workers,
        threads=settings.threads,
        connections=_CONNECTIONS,
        keepalive_seconds=_KEEPALIVE_SECONDS,
        client_timeout_seconds=settings.client_timeout_seconds,
        shutdown_timeout_seconds=settings.shutdown_timeout_seconds,
        max_body_bytes=settings.max_body_bytes,
    )
    server.serve(options, load)
