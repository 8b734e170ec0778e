"""``spegel cleanup-wait``: waits until every node's cleanup answers its probe."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable

from daemon.cli.commands import CleanupWait
from daemon.cli.signals import stop_requested
from daemon.cli.values import port_of
from daemon.http.client import ClientError, get

_PROBE_TIMEOUT = 1.0
_AT_ONCE = 10

logger = logging.getLogger(__name__)


class ProbeError(Exception):
    """A round failed; the message says where and why."""


def run_cleanup_wait(command: CleanupWait) -> int:
    """Wait; return 0 once all is cleaned up, 1 when a signal came first."""
    return asyncio.run(_run(command))


async def _run(command: CleanupWait) -> int:
    host, port = command.probe_endpoint.rpartition(":")[0].strip("[]"), port_of(command.probe_endpoint)
    stop = asyncio.create_task(stop_requested().wait())
    done = asyncio.create_task(
        wait(lambda: probe_all(host, port), threshold=command.threshold, period=command.period)
    )
    try:
        await asyncio.wait({stop, done}, return_when=asyncio.FIRST_COMPLETED)
        if done.done():
            done.result()
            return 0
        logger.error("stopped before the cleanup was seen on all nodes")
        return 1
    finally:
        stop.cancel()
        done.cancel()
        await asyncio.gather(stop, done, return_exceptions=True)


async def wait(probe: Callable[[], Awaitable[None]], *, threshold: int, period: float) -> None:
    """Probe at once and then every ``period`` seconds, until ``threshold`` rounds in a row have succeeded."""
    loop = asyncio.get_running_loop()
    successes = 0
    due = loop.time()
    while successes < threshold:
        await asyncio.sleep(due - loop.time())
        try:
            await probe()
        except ProbeError as error:
            successes = 0
            logger.warning("not yet: %s", error)
        else:
            successes += 1
            logger.info("round %d of %d succeeded", successes, threshold)
        # A round that took longer than the period is followed by the next one at once, as a ticker would.
        due = max(due + period, loop.time())


async def probe_all(host: str, port: int) -> None:
    """Probe every address of a host.

    Raises:
        ProbeError: the host has no address, or one of them does not answer its probe with 200.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ProbeError(f"{host} cannot be resolved: {error}") from error
    limit = asyncio.Semaphore(_AT_ONCE)

    async def probe(address: str) -> None:
        async with limit:
            await _probe(address, port)

    addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
    outcomes = await asyncio.gather(*map(probe, addresses), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


async def _probe(address: str, port: int) -> None:
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT), get(address, port, "/readyz") as answer:
            status = answer.status
    except TimeoutError as error:
        raise ProbeError(f"{address} does not answer in time") from error
    except ClientError as error:
        raise ProbeError(str(error)) from error
    if status != 200:
        raise ProbeError(f"{address} answers {status}")
