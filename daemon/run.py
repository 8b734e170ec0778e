"""``spegel registry``: puts the parts together, runs them, and ends them in order.

The registry listens before anything else is done: the node agent, and containerd, ask it as soon as the
process is there, and a part that is not ready yet (containerd may be down, no peer may be known) is no reason
not to answer.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

from daemon.cli.commands import Registry as Settings
from daemon.cli.signals import stop_requested
from daemon.cli.values import port_of
from daemon.cli.version import version
from daemon.http.bucket import TokenBucket
from daemon.http.quiet import Quiet
from daemon.http.server import Server
from daemon.http.sockets import ListenError
from daemon.metrics import Metrics
from daemon.mirror import Mirror
from daemon.oci.filters import Filters, InvalidFilterError, parse_filters
from daemon.registry.credentials import DIRECTORY, Credentials, load_credentials
from daemon.registry.facts import Facts
from daemon.registry.handler import Registry
from daemon.registry.observer import RequestObserver
from daemon.registry.origins import Origins
from daemon.routing import composition
from daemon.routing.base import Router
from daemon.store.base import Store
from daemon.store.containerd import ContainerdStore
from daemon.store.layout import LayoutStore
from daemon.sync.sync import Sync
from daemon.systemd import Notifier
from daemon.web.handler import Pages, Surroundings
from daemon.web.measure import Meter

_UPLOAD_BURST = 1.0
"""Seconds of the upload rate that may go out at once after a rest."""

logger = logging.getLogger(__name__)


class StartError(Exception):
    """The daemon cannot start; the message says why."""


class PartEndedError(Exception):
    """A part of the daemon that runs for ever has ended."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is read from files and flags before anything is started."""

    filters: Filters
    credentials: Credentials | None


def run_registry(settings: Settings) -> int:
    """Run the daemon until a signal comes; return the exit code."""
    _allow_many_files()
    try:
        asyncio.run(_run(settings, read_inputs(settings)))
    except (StartError, ListenError, InvalidFilterError) as error:
        logger.error("%s", error)  # noqa: TRY400  # one line says it all
        return 1
    except BaseExceptionGroup as group:
        others = group.split(PartEndedError)[1]
        if others is not None:
            raise others from None
        return 1  # what ended it is in the log already
    return 0


def read_inputs(settings: Settings) -> Inputs:
    """Read and check what the flags name.

    Raises:
        StartError: a file or a directory cannot be used.
        InvalidFilterError: a filter cannot be used.
    """
    filters = parse_filters(settings.mirrored_registries, settings.registry_filters)
    try:
        credentials = load_credentials()
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"the password in {DIRECTORY} cannot be read: {error}") from error
    if settings.oci_layout:
        try:
            os.close(os.open(settings.oci_layout, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError as error:
            raise StartError(f"--oci-layout: {settings.oci_layout}: {error.strerror}") from error
    return Inputs(filters, credentials)


def make_store(settings: Settings) -> Store:
    """Make the store that the flags name; on the event loop."""
    if settings.oci_layout:
        return LayoutStore(Path(settings.oci_layout))
    return ContainerdStore(
        settings.containerd_sock, settings.containerd_namespace, settings.containerd_content_path
    )


def make_router(settings: Settings, metrics: Metrics) -> Router:
    """Make the router that the flags describe; it listens from now on.

    Raises:
        StartError: a file or a value cannot be used.
        ListenError: an address cannot be listened on.
    """
    try:
        return composition.make_router(settings, metrics)
    except composition.RouterError as error:
        raise StartError(str(error)) from error


class Daemon:
    """All parts together. Made on the event loop; does nothing before ``listen``."""

    def __init__(
        self,
        settings: Settings,
        inputs: Inputs,
        router: Callable[[Settings, Metrics], Router] = make_router,
    ) -> None:
        """Make the parts and connect them; ``router`` makes the one of them that tests replace."""
        self._settings = settings
        self._notifier = Notifier(os.environ)
        metrics = Metrics(version())
        self._store = make_store(settings)
        self._router = router(settings, metrics)
        credentials = inputs.credentials
        self._mirror = Mirror(
            self._router,
            metrics,
            resolve_timeout=settings.mirror_resolve_timeout,
            resolve_retries=settings.mirror_resolve_retries,
            credentials=(credentials.username, credentials.password) if credentials else None,
            verify_blobs=settings.verify_blobs,
        )
        facts = Facts(self._store)
        filters = inputs.filters
        self._sync = Sync(
            self._store,
            self._router,
            filters,
            metrics,
            observe=facts.observe,
            interval=settings.reconcile_interval,
        )
        rate = settings.upload_rate_limit
        registry = Registry(
            self._store,
            facts,
            self._mirror,
            metrics,
            ready=self._router.ready,
            filters=filters,
            origins=Origins(self._store, filters, self._sync.advertises) if filters != Filters() else None,
            credentials=credentials,
            upload_cap=TokenBucket(rate, rate * _UPLOAD_BURST) if rate else None,
        )
        surroundings = Surroundings(
            version=version(),
            host=socket.gethostname(),
            store_name=settings.oci_layout or f"containerd, namespace {settings.containerd_namespace}",
            store=self._store,
            router=self._router,
            history=self._mirror.history,
            metrics=metrics,
            filters=filters,
            meter=Meter(
                self._router,
                self._mirror.history,
                _local(settings.registry_addr),
                credentials.header if credentials else None,
            ),
        )
        pages = Pages(
            surroundings, web=settings.debug_web_enabled, profiling=settings.debug_profiling_enabled
        )
        self._registry_server = Server(registry, RequestObserver(metrics))
        self._metrics_server = Server(pages, Quiet())

    def listen(self) -> None:
        """Answer from now on.

        Raises:
            ListenError: an address cannot be listened on.
        """
        self._registry_server.listen(self._settings.registry_addr)
        self._metrics_server.listen(self._settings.metrics_addr)
        settings = self._settings
        addresses = {
            "registry": settings.registry_addr,
            "metrics": settings.metrics_addr,
            "router": settings.router_addr,
        }
        logger.info("listening", extra={**addresses, "id": self._router.id})
        self._notifier.ready()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until the event is set, then let transfers finish; when it is set again, cut them.

        Raises:
            ExceptionGroup: of PartEndedError, when a part of the daemon failed.
        """
        async with asyncio.TaskGroup() as parts:
            running = [
                parts.create_task(_endless("router", self._router.run())),
                parts.create_task(_endless("sync", self._sync.run())),
                parts.create_task(_endless("watchdog", self._notifier.watchdog())),
            ]
            await stop.wait()
            stop.clear()
            self._notifier.stopping()
            logger.info("stopping", extra={"connections": self._registry_server.connections})
            await self._drain(stop)
            for part in running:
                part.cancel()

    async def aclose(self) -> None:
        """Close connections; what is under way is cut."""
        await self._registry_server.drain(0)
        await self._metrics_server.drain(0)
        await self._mirror.aclose()
        await self._store.close()

    async def _drain(self, hurry: asyncio.Event) -> None:
        timeout = self._settings.shutdown_timeout
        async with asyncio.TaskGroup() as ending:
            drains = [
                ending.create_task(server.drain(timeout))
                for server in (self._registry_server, self._metrics_server)
            ]
            hurried = ending.create_task(hurry.wait())
            while not hurried.done() and not all(drain.done() for drain in drains):
                await asyncio.wait([hurried, *drains], return_when=asyncio.FIRST_COMPLETED)
            for task in (hurried, *drains):
                task.cancel()


async def _run(settings: Settings, inputs: Inputs) -> None:
    stop = stop_requested()
    daemon = Daemon(settings, inputs)
    try:
        daemon.listen()
        await daemon.run(stop)
    finally:
        await daemon.aclose()
    logger.info("stopped")


async def _endless(name: str, work: Coroutine[None, None, None]) -> None:
    """Run a part that never ends of itself."""
    try:
        await work
    except Exception as error:
        logger.exception("the %s failed", name)
        raise PartEndedError(name) from error
    logger.error("the %s has ended", name)
    raise PartEndedError(name)


def _allow_many_files() -> None:
    """Use all of the open files that may be had.

    A service starts with 1,024, a number that only spares programs which use select(2): a rush of clients,
    each with its socket, a peer's, two ends of a pipe or a file, needs more.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _local(address: str) -> tuple[str, int]:
    """Return where this node reaches an address that it listens on."""
    host = address.rpartition(":")[0].strip("[]")
    return ("127.0.0.1" if host in {"", "0.0.0.0", "::"} else host), port_of(address)  # noqa: S104  # it is dialled, not listened on
