"""The running controller: kopf watches, and what is here does the rest.

kopf gets one low-level handler for Extensions and nothing else. Only so it writes nothing into them:
gardenlet waits for exact annotations and finalizers, which kopf's own handlers for creation or deletion would
add to.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import kopf
import yaml

from controller.operator import expiry, figures, heartbeat, webhook
from controller.operator.build import builder
from controller.operator.client import ApiError, Client, Object
from controller.operator.extensions import Extensions
from controller.operator.leader import Elected
from controller.operator.login import NoApiServerError, log_in
from controller.operator.reconciler import Reconciler
from controller.operator.resources import EXTENSION
from controller.operator.web import served
from controller.settings import ControllerSettings

NAME = "gardener-extension-registry-spegel"
LEADER_LEASE = f"{NAME}-leader"
_EXIT_SECONDS = 20
_PAUSE_SECONDS = 1
_log = logging.getLogger(__name__)


class RegistrationError(Exception):
    """The file with the webhook's registration cannot be used."""


class _Backoffs:
    """Seconds between tries, without an end: an API server that is away comes back."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((0.5, 1, 2, 4), itertools.repeat(5))


def run(settings: ControllerSettings) -> None:
    """Run until told to stop by SIGTERM or SIGINT.

    Raises:
        NoApiServerError: nothing says where the API server is, or in which namespace this runs.
        RegistrationError: see there.
        ListenError: see there.
    """
    if settings.kubeconfig is not None:
        os.environ["KUBECONFIG"] = str(settings.kubeconfig)  # where kopf looks
    _tame_logs()
    login = partial(log_in, _kopf_settings())
    found = login()
    namespace = settings.namespace or found.default_namespace
    if not namespace:
        raise NoApiServerError("in which namespace? --namespace says it outside of a pod")
    registration = _registration(settings.webhook_registration)
    asyncio.run(_run(settings, lambda: _Controller(settings, namespace, login, registration)))


async def _run(settings: ControllerSettings, make: Callable[[], _Controller]) -> None:
    controller = make()
    controller.obey()

    def show() -> None:
        controller.show()  # that of today

    async with served(settings.address, settings.health_port, show):
        while not await controller.run():
            controller = make()
            controller.obey()
            await asyncio.sleep(_PAUSE_SECONDS)


def told_late(stop: asyncio.Event, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Take an exception that nobody has waited for; a loop's exception handler.

    Told to stop while it finds out what the API server knows, kopf leaves requests behind, which then fail.
    """
    if stop.is_set() and isinstance(context.get("exception"), aiohttp.ClientError):
        _log.debug("left behind when told to stop: %s", context["exception"])
    else:
        loop.default_exception_handler(context)


class _Controller:
    """Everything, until told to stop or until kopf gives up."""

    def __init__(
        self,
        settings: ControllerSettings,
        namespace: str,
        login: Callable[[], kopf.ConnectionInfo],
        registration: Object | None,
    ) -> None:
        clock = partial(datetime.now, UTC)
        self._settings = settings
        self._namespace = namespace
        self._login = login
        self._registration = registration
        self._clock = clock
        self._client = Client(login)
        reconciler = Reconciler(self._client, builder(settings.options), clock)
        self._extensions = Extensions(self._client, reconciler, clock)
        self._stop = asyncio.Event()
        self._broken: BaseException | None = None

    def obey(self) -> None:
        """Stop when told to, from now on; kopf itself does so only once it runs."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        loop.set_exception_handler(partial(told_late, self._stop))

    async def run(self) -> bool:
        """Run, and return whether that has ended because it was told to stop.

        kopf ends when a watch is answered in a way that it does not know, such as with status 410. Then all
        else ends too, and can begin anew.

        Raises:
            Exception: a mistake of ours.
        """
        if not await self._is_served():
            return True
        registry = kopf.OperatorRegistry()
        group, version = EXTENSION.api_version.split("/")
        kopf.on.login(registry=registry)(self._log_in)
        kopf.on.event(group, version, EXTENSION.plural, registry=registry)(self._see)
        kopf.on.startup(registry=registry)(self._begin)
        kopf.on.cleanup(registry=registry)(self._end)
        try:
            await kopf.operator(
                registry=registry,
                settings=_kopf_settings(),
                clusterwide=True,
                standalone=True,
                stop_flag=self._stop,
            )
        except Exception as error:  # noqa: BLE001 - kopf's errors are its own
            _log.warning("kopf has given up, and begins anew: %s", error)
            return False
        if self._broken is not None:
            raise self._broken
        return True

    async def _is_served(self) -> bool:
        """Wait for the custom resource, and return whether it has come before the order to stop.

        kopf looks for it once, and without it would watch nothing for ever; an API server that has just
        started may not know it yet.
        """
        while not self._stop.is_set():
            try:
                if await self._client.serves(EXTENSION):
                    return True
                _log.warning("the API server does not know Extensions yet")
            except ApiError as error:
                _log.warning("what the API server knows cannot be told: %s", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(_PAUSE_SECONDS):
                    await self._stop.wait()
        await self._client.close()
        return False

    def show(self) -> None:
        """Put the figures in order."""
        self._extensions.show()

    def _log_in(self, **_: Any) -> kopf.ConnectionInfo:
        return self._login()

    async def _see(self, *, event: kopf.RawEvent, **_: Any) -> None:
        self._extensions.see(event["type"], dict(event["object"]))

    async def _begin(self, **_: Any) -> None:
        identity = f"{socket.gethostname()}_{uuid.uuid4()}"
        elected = Elected(self._client, self._namespace, LEADER_LEASE, identity)
        self._work = asyncio.create_task(elected.run(self._lead))
        self._work.add_done_callback(self._note)

    async def _end(self, **_: Any) -> None:
        self._work.cancel()
        await asyncio.wait([self._work])
        await self._client.close()

    def _note(self, work: asyncio.Task[None]) -> None:
        if not work.cancelled():
            self._broken = work.exception()
        self._stop.set()

    async def _lead(self) -> None:
        with figures.leading():
            await self._work_as_leader()

    async def _work_as_leader(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._extensions.work(self._settings.workers))
            tasks.create_task(self._extensions.check())
            tasks.create_task(expiry.watch(self._client, lambda: self._extensions.namespaces, self._clock))
            tasks.create_task(heartbeat.beat(self._client, self._namespace, NAME))
            if self._registration is not None:
                tasks.create_task(
                    webhook.keep(self._client, self._namespace, self._registration, self._clock)
                )


def _tame_logs() -> None:
    """Keep kopf from saying a line for each event, and from adding what is no JSON to its lines."""
    logger = logging.getLogger("kopf.objects")
    logger.setLevel(logging.WARNING)
    logger.addFilter(_without_objects)


def _without_objects(record: logging.LogRecord) -> bool:
    for name in ("k8s_ref", "k8s_skip", "settings"):
        record.__dict__.pop(name, None)
    return True


def _kopf_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    # What there is on a seed is there from the beginning, and the right to watch all kinds is not needed.
    settings.scanning.disabled = True
    settings.networking.error_backoffs = _Backoffs()
    settings.networking.request_timeout = 30
    settings.watching.chunk_size = 500
    settings.process.ultimate_exiting_timeout = _EXIT_SECONDS
    return settings


def _registration(file: Path | None) -> Object | None:
    if file is None:
        return None
    try:
        loaded = yaml.safe_load(file.read_text("utf-8"))
        service = loaded["webhooks"][0]["clientConfig"]["service"]
        usable = all(isinstance(service[key], str) for key in ("name", "namespace"))
        usable = usable and isinstance(loaded["metadata"]["name"], str)
    except OSError as error:
        raise RegistrationError(f"{file}: {error.strerror}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise RegistrationError(f"{file}: {' '.join(str(error).split())}") from error
    except (KeyError, TypeError, IndexError):
        usable = False
    if not usable:
        raise RegistrationError(f"{file}: must be a MutatingWebhookConfiguration that leads to a Service")
    registration: Object = loaded
    return registration
