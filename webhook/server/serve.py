"""Running the application under gunicorn, embedded: no configuration but our settings."""

from __future__ import annotations

import os
import shutil
import ssl
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication

from webhook.context.api_server import ApiServer
from webhook.server import arrival, logs
from webhook.server.certificate import Certificate
from webhook.server.worker import Worker
from webhook.settings import ServerSettings

if TYPE_CHECKING:
    from flask import Flask

_KEEPALIVE_SECONDS = 120  # longer than an API server keeps an idle connection (90 s), so that it closes
_WORKER_TIMEOUT_SECONDS = 30  # without a sign from a process's event loop
_CONNECTIONS = 512
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - files there have unguessable names


def serve(settings: ServerSettings) -> None:
    """Serve until told to stop by SIGTERM or SIGINT; ends by SystemExit.

    Raises:
        LandscapeError: there is no usable configuration for the API server.
        CertificateError: the certificate cannot be used.
    """
    logs.configure(settings.log_level)
    server = _Server(settings)
    # Figures are shared by files, which the client library looks for when it is imported. Heartbeats
    # are files too. Both are best kept in memory; the root file system may be read-only.
    directory = Path(tempfile.mkdtemp(prefix="registry-spegel-webhook-", dir=_memory()))
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    process = os.getpid()
    try:
        server.run()
    finally:
        if os.getpid() == process:  # the processes that gunicorn forks come by here too
            shutil.rmtree(directory, ignore_errors=True)


class _Server(BaseApplication):
    """What gunicorn asks for its configuration and for the application."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        # Both are tried out here, so that a mistake is said at once and not by each worker.
        self._landscape = ApiServer(
            settings.kubeconfig, timeout_seconds=settings.api_timeout_seconds, connections=settings.threads
        )
        self._certificate = _certificate(settings, lambda _: None)
        super().__init__()

    def load_config(self) -> None:
        settings = self.settings
        host = f"[{settings.address}]" if settings.address.version == 6 else str(settings.address)
        values: dict[str, Any] = {
            "bind": f"{host}:{settings.port}",
            "worker_class": Worker,
            "workers": settings.workers,
            "threads": settings.threads,
            "worker_connections": _CONNECTIONS,
            "timeout": _WORKER_TIMEOUT_SECONDS,
            "graceful_timeout": settings.shutdown_timeout_seconds,
            "keepalive": _KEEPALIVE_SECONDS,
            "limit_request_line": arrival.MAX_REQUEST_LINE_BYTES,
            "limit_request_fields": arrival.MAX_HEADERS,
            "limit_request_field_size": arrival.MAX_HEADER_BYTES,
            "worker_tmp_dir": _memory(),
            "control_socket_disable": True,
            "logger_class": logs.GunicornLogger,
            "child_exit": _forget,
            "proc_name": "registry-spegel-webhook",
        }
        if settings.tls_certificate is not None:
            values["certfile"] = str(settings.tls_certificate)
            values["keyfile"] = str(settings.tls_key)
            values["ssl_context"] = self._ssl_context
        for name, value in values.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Make the application; in each worker, after the fork."""
        from webhook.server import metrics  # noqa: PLC0415 - see serve()
        from webhook.server.app import create_app  # noqa: PLC0415 - imports it too

        settings = self.settings
        expiry = metrics.CERTIFICATE_EXPIRY
        self._certificate = _certificate(settings, lambda end: expiry.set(end.timestamp()))
        readiness = ApiServer(
            settings.kubeconfig, timeout_seconds=settings.readiness_timeout_seconds, connections=1
        )
        return create_app(settings, self._landscape, readiness.version)

    def _ssl_context(self, _config: Any, _default: Any) -> ssl.SSLContext:
        """Give gunicorn the context for a new connection."""
        assert self._certificate is not None  # noqa: S101 - the hook is set only then
        return self._certificate.context()


def _certificate(settings: ServerSettings, on_load: Callable[[datetime], None]) -> Certificate | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return Certificate(settings.tls_certificate, settings.tls_key, on_load)


def _forget(_arbiter: Any, worker: Worker) -> None:
    """Take a process that has ended out of the figures of the living."""
    from prometheus_client import multiprocess  # noqa: PLC0415 - see serve()

    multiprocess.mark_process_dead(worker.pid)


def _memory() -> str | None:
    usable = _SHARED_MEMORY.is_dir() and os.access(_SHARED_MEMORY, os.W_OK)
    return str(_SHARED_MEMORY) if usable else None
