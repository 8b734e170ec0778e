"""Calls to containerd: the namespace on each, a limit to each, every failure a StoreError."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

from google.protobuf.message import DecodeError
from grpclib import GRPCError, Status
from grpclib.client import Channel, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.exceptions import ProtocolError, StreamTerminatedError
from h2.connection import H2Connection
from h2.exceptions import H2Error

from daemon.store.base import NotFoundError, StoreError

Request = TypeVar("Request")
Reply = TypeVar("Reply")

_AT_ONCE = 32
"""Calls under way. Each takes 12 KB, which Python does not give back after a rush; more are not faster."""

# What is remembered of calls that have ended, for frames that come late; 65,536 of them take 11 MB.
H2Connection.MAX_CLOSED_STREAMS = 128


class Connection:
    """A channel to containerd's socket. A call dials again when the last connection is gone."""

    def __init__(self, socket: str, namespace: str) -> None:
        """Make the channel; must be called on the event loop, connects with the first call."""
        self.channel = Channel(path=socket)
        self._socket = socket
        self._metadata = {"containerd-namespace": namespace}
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def call(
        self, method: UnaryUnaryMethod[Request, Reply], request: Request, *, timeout: float
    ) -> Reply:
        """Make a call that has one reply; ``timeout`` in seconds, from when it is its turn."""

        async def exchange() -> Reply | None:
            async with method.open(timeout=timeout, metadata=self._metadata) as stream:
                await stream.send_message(request, end=True)
                return await stream.recv_message()

        async with self._turns:
            with self._failures(method.name):
                reply = await _isolated(exchange)
        if reply is None:
            raise StoreError(f"containerd does not answer {method.name}")
        return reply

    async def stream(
        self,
        method: UnaryStreamMethod[Request, Reply],
        request: Request,
        consume: Callable[[Reply], object],
        *,
        timeout: float,
    ) -> None:
        """Make a call that has many replies and hand each of them on; ``timeout`` in seconds for all."""

        async def exchange() -> None:
            async with method.open(timeout=timeout, metadata=self._metadata) as stream:
                await stream.send_message(request, end=True)
                async for reply in stream:
                    consume(reply)

        with self._failures(method.name):
            await _isolated(exchange)

    @asynccontextmanager
    async def subscribe(
        self, method: UnaryStreamMethod[Request, Reply], request: Request
    ) -> AsyncGenerator[Callable[[], Awaitable[Reply]], None]:
        """Make a call whose replies never end; gives a function that waits for the next one."""
        with self._failures(method.name):
            async with method.open(metadata=self._metadata) as stream:

                async def receive() -> Reply:
                    with self._failures(method.name):
                        reply = await stream.recv_message()
                    if reply is None:
                        raise StoreError("containerd ended the stream of events")
                    return reply

                await _isolated(lambda: stream.send_message(request, end=True))
                yield receive

    def close(self) -> None:
        """Close the connection; calls under way fail."""
        self.channel.close()

    @contextmanager
    def _failures(self, method: str) -> Iterator[None]:
        try:
            yield
        except GRPCError as error:
            if error.status is Status.NOT_FOUND:
                raise NotFoundError(f"containerd: {error.message}") from error
            raise StoreError(f"containerd refuses {method}: {error.status.name}: {error.message}") from error
        except TimeoutError as error:
            raise StoreError(f"containerd does not answer {method} in time") from error
        except OSError as error:
            raise StoreError(f"containerd cannot be reached at {self._socket}: {error}") from error
        except (StreamTerminatedError, ProtocolError, H2Error, DecodeError) as error:
            raise StoreError(f"the connection to containerd broke: {error}") from error


async def _isolated(exchange: Callable[[], Awaitable[Reply]]) -> Reply:
    """Run a call in a task of its own.

    grpclib wakes whoever waits on a broken connection by cancelling the task, and never takes that back
    (Task.uncancel): the caller's task groups and timeouts would take the cancellation for theirs.
    """

    async def run() -> Reply:
        return await exchange()

    return await asyncio.create_task(run())
