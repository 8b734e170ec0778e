"""From the flags to a router."""

from __future__ import annotations

from pathlib import Path

from daemon.bootstrap import Source
from daemon.bootstrap.certificates import CertificateError
from daemon.bootstrap.dns import DnsSource
from daemon.bootstrap.http import HttpSource
from daemon.bootstrap.static import StaticSource
from daemon.cli.commands import Registry as Settings
from daemon.cli.values import port_of
from daemon.cli.version import version
from daemon.http.sockets import open_listeners
from daemon.libp2p import key_file
from daemon.libp2p.identity import PrivateKey
from daemon.libp2p.multiaddr import InvalidMultiaddrError
from daemon.metrics import Metrics
from daemon.routing.libp2p import Libp2pRouter


class RouterError(Exception):
    """The router cannot be made as the flags have it; the message says why."""


def make_router(settings: Settings, metrics: Metrics) -> Libp2pRouter:
    """Make the router of a node, which listens from now on.

    Raises:
        RouterError: a file or a value cannot be used.
        ListenError: an address cannot be listened on.
    """
    try:
        identity = (
            key_file.load_or_create(Path(settings.data_dir)) if settings.data_dir else PrivateKey.generate()
        )
        source = _source(settings)
    except (key_file.KeyFileError, CertificateError, InvalidMultiaddrError) as error:
        raise RouterError(str(error)) from error
    router = Libp2pRouter(
        identity,
        open_listeners(settings.router_addr),
        source,
        port_of(settings.registry_addr),
        metrics.resolve_duration,
        id_address=settings.http_bootstrap_addr if settings.bootstrap_kind == "http" else "",
        agent=f"spegel/{version()}",
    )
    metrics.router_peers.set_function(lambda: router.known)
    return router


def _source(settings: Settings) -> Source:
    match settings.bootstrap_kind:
        case "dns":
            return DnsSource(settings.dns_bootstrap_domain)
        case "http":
            directory = settings.http_bootstrap_cert_dir
            return HttpSource(settings.http_bootstrap_url, Path(directory) if directory else None)
    return StaticSource(settings.static_bootstrap_peers)
