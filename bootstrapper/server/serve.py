"""The bootstrapper as a server: what is answered where, and the thread that keeps it true."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from bootstrapper.answers import next_change, select
from bootstrapper.publication import Publication
from bootstrapper.rate import RateLimit
from bootstrapper.roster import Roster
from bootstrapper.server.gate import Gate
from bootstrapper.settings import ServerSettings
from bootstrapper.sources import configured
from bootstrapper.sources.base import Source, SourceError
from serving import logs, server
from serving.certificate import Certificate

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_MAX_BODY_BYTES = 0  # no request has one
_PUBLISH_SECONDS = 0.2  # between two answers, when many nodes change at once
_PATIENCE_SECONDS = 5.0  # after an error that nobody expected
_NODES, _PROBES = "nodes", "probes"

_log = logging.getLogger(__name__)


def serve(settings: ServerSettings) -> None:
    """Serve until told to stop by SIGTERM or SIGINT; ends by SystemExit.

    Raises:
        CertificateError: the certificate, its key or the authorities cannot be used.
        SourceError: there is no usable configuration of an API server.
    """
    logs.configure(settings.log_level)
    certificate = None
    if settings.tls_certificate and settings.tls_key:
        certificate = Certificate(settings.tls_certificate, settings.tls_key, settings.client_authorities)
    configured.check(settings, server.memory())
    gate = Gate(RateLimit(settings.rate, settings.burst))
    context = certificate.context if certificate else None

    def load(directory: Path) -> WSGIApplication:
        from bootstrapper.server import metrics  # noqa: PLC0415 - see serving.figures
        from bootstrapper.server.apps import nodes_app, probes_app  # noqa: PLC0415 - imports it too

        gate.on_refused = lambda reason: metrics.REFUSED.labels(reason).inc()
        if certificate is not None:
            certificate.tell(lambda end: metrics.CERTIFICATE_EXPIRY.set(end.timestamp()))
        publication = Publication(directory)
        keeper = _Keeper(configured.source(settings, directory), publication, settings.not_ready_seconds)
        keeper.start()
        nodes = nodes_app(publication, settings.limit, gate.admit)

        def refresh() -> None:
            if context is not None:
                context()  # as of the files on disk
            metrics.CLIENT_CERTIFICATE_EXPIRY.set(gate.earliest_end())

        probes = probes_app(publication, refresh)

        def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            app = probes if environ["SERVER_NAME"] == _PROBES else nodes
            return app(environ, start_response)

        return application

    options = server.Options(
        name="registry-spegel-bootstrapper",
        listeners=(
            server.Listener(settings.address, settings.port, context, gate, _NODES),
            server.Listener(settings.address, settings.probe_port, None, None, _PROBES),
        ),
        workers=settings.workers,
        threads=settings.threads,
        connections=settings.connections,
        quiet_connections=settings.quiet_connections,
        keepalive_seconds=settings.keepalive_seconds,
        client_timeout_seconds=settings.client_timeout_seconds,
        shutdown_timeout_seconds=settings.shutdown_timeout_seconds,
        max_body_bytes=_MAX_BODY_BYTES,
    )
    server.serve(options, load)


class _Keeper:
    """Keeps the publication true, when no other process does; it ends with its process."""

    def __init__(self, source: Source, publication: Publication, patience: float) -> None:
        self._source = source
        self._publication = publication
        self._patience = patience
        self._roster = Roster()
        self._reported: str | None = None

    def start(self) -> None:
        threading.Thread(target=self._keep, name="keeper", daemon=True).start()

    def heard(self) -> None:
        """See sources.base.Listener."""
        if self._reported is not None:
            _log.info("the nodes are known again")
            self._reported = None
        self._publication.heard()

    def failed(self, error: SourceError) -> None:
        """See sources.base.Listener."""
        from bootstrapper.server import metrics  # noqa: PLC0415 - see serving.figures

        metrics.FAILURES.labels(error.reason).inc()
        if str(error) != self._reported:  # once is enough of what goes on for long
            self._reported = str(error)
            _log.warning({"message": "no news of the nodes", "reason": error.reason, "cause": str(error)})

    def _keep(self) -> NoReturn:
        with self._publication.turn():
            threading.Thread(target=self._publish, name="publisher", daemon=True).start()
            while True:
                try:
                    self._source.follow(self._roster, self)
                except Exception:  # noqa: BLE001 - it is logged, and what is served stays
                    _log.exception("unexpected error in the source of nodes")
                    time.sleep(_PATIENCE_SECONDS)

    def _publish(self) -> NoReturn:
        due: float | None = None
        while True:
            nodes = self._roster.take(None if due is None else max(0.0, due - time.time()))
            now = time.time()
            try:
                self._publication.write(select(nodes, now, self._patience))
            except OSError:
                _log.exception("the answers cannot be written")
            due = next_change(nodes, now, self._patience)
            del nodes
            time.sleep(_PUBLISH_SECONDS)
