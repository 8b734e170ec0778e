"""One client's connection: heads come in, answers go out in the same order, one at a time.

The connection owns its socket outright, without an asyncio transport in between: small answers are written
in the same turn of the event loop in which their request arrived, and bodies write to the socket themselves,
by sendfile or splice. While an answer takes its time the socket is still being read, up to a bound, because
that is the only way to notice at once that the client is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol

from daemon.http import sockets
from daemon.http.head import HEAD_LIMIT, BadRequestError, Head, HeadBuffer, parse_head
from daemon.http.limits import Limits, Scope, is_loopback
from daemon.http.message import Handler, Request, Response
from daemon.http.responses import encode_head, failure_response, refusal_response
from daemon.http.shares import Shares
from daemon.http.sink import SocketSink

logger = logging.getLogger(__name__)

# Pipelined requests that are answered before other connections have their turn.
_TURN = 16


class Observer(Protocol):
    """Is told of every request, for metrics and logs."""

    def begin(self, request: Request) -> None:
        """A request is going to be answered."""

    def end(self, request: Request, response: Response, seconds: float, *, complete: bool) -> None:
        """It was answered, or (not ``complete``) its connection was cut before the answer's end."""

    def refused(self, client: str, status: HTTPStatus, message: str) -> None:
        """What came was no acceptable request."""

    def turned_away(self, scope: Scope) -> None:
        """A connection was refused, since there were too many."""


@dataclass(slots=True)
class Service:
    """What all connections of a server share."""

    handler: Handler
    observer: Observer
    limits: Limits
    draining: bool = False
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    bodies: Shares[Connection] = field(default_factory=Shares)
    """The connections that are sending something large."""
    buffer: bytearray = field(default_factory=lambda: bytearray(HEAD_LIMIT))
    """Every read goes here first: it is used up before the next one."""


class _Phase(enum.Enum):
    IDLE = enum.auto()
    HEAD = enum.auto()
    """Some of a head is there, or nothing yet of the first one."""
    TURN = enum.auto()
    """More heads are there, but it is others' turn."""
    ANSWER = enum.auto()
    """A handler is at work."""
    BODY = enum.auto()
    """An answer is being written."""
    LINGER = enum.auto()
    """The last answer was written; closing before the client has read it might reset it away."""
    CLOSED = enum.auto()


_READING = frozenset({_Phase.IDLE, _Phase.HEAD})
_ANSWERING = frozenset({_Phase.TURN, _Phase.ANSWER, _Phase.BODY})


_FAILURE = failure_response()


@dataclass(slots=True)
class _Exchange:
    """One request and what has become of it."""

    head: Head
    started: float
    response: Response = _FAILURE
    keep: bool = False

    @property
    def is_head(self) -> bool:
        return self.head.request.method == "HEAD"


class Connection:
    """Reads, answers, closes. ``ended`` is called once, when the socket is closed."""

    def __init__(
        self, sock: socket.socket, client: str, service: Service, ended: Callable[[Connection], None]
    ) -> None:
        """Take an accepted socket over and start to read."""
        self.client = client
        self._socket = sock
        self._service = service
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._heads = HeadBuffer()
        self._sink = SocketSink(sock, service.limits.stall)
        self._task: asyncio.Task[None] | None = None
        self._input_ended = False
        self._aborted = False
        now = self._loop.time()
        self._retire_at = now + service.limits.lifetime
        self._phase = _Phase.HEAD
        self._deadline = now + service.limits.head
        self._loop.add_reader(sock, self._readable)

    @property
    def idle_until(self) -> float | None:
        """When an idle connection will be closed; None when it is not idle."""
        return self._deadline if self._phase is _Phase.IDLE else None

    def drain(self) -> None:
        """End after the answer that is under way, at once if there is none."""
        if self._task is None:
            self._close()

    def abort(self) -> None:
        """End now, in the middle of whatever is under way; the client sees a reset."""
        if self._task is None:
            self._close(reset=True)
        elif not self._aborted:
            self._aborted = True
            # A task that is cancelled before its first step never gets to release what it was given.
            self._loop.call_soon(self._task.cancel)

    def share(self, among: int) -> None:
        """Take one of so many shares of the send buffers."""
        sockets.share_send_buffers(self._socket, among, loopback=is_loopback(self.client))

    def expire(self, now: float) -> None:
        """End what has taken too long."""
        self._sink.expire(now)
        if now < self._deadline:
            return
        if self._phase is _Phase.HEAD and len(self._heads):
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "the request's head did not arrive in time")
        elif self._task is None:
            self._close()
        else:
            logger.info("%s: %s took too long", self.client, self._phase.name.lower())
            self.abort()

    def _readable(self) -> None:
        buffer = self._service.buffer
        try:
            count = self._socket.recv_into(buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._loop.remove_reader(self._socket)
            self.abort()
            return
        if not count:
            self._end_of_input()
        elif self._phase is not _Phase.LINGER:
            self._heads.feed(memoryview(buffer)[:count])
            if self._phase in _READING:
                self._advance()
            if len(self._heads) > HEAD_LIMIT and self._phase in _ANSWERING:
                self._loop.remove_reader(self._socket)

    def _end_of_input(self) -> None:
        """The client sends no more. It may still read, so requests that are there are answered."""
        self._loop.remove_reader(self._socket)
        self._input_ended = True
        self._sink.input_ended()
        if self._phase is _Phase.LINGER:
            self._close()
        elif self._phase in _READING:
            self._advance()

    def _advance(self) -> None:
        """Answer the requests that are there, in order, up to one that takes time."""
        for _ in range(_TURN):
            try:
                data = self._heads.take()
                if data is None:
                    self._await_head()
                    return
                head = parse_head(data, self.client)
            except BadRequestError as error:
                self._refuse(error.status, error.message)
                return
            if not self._answer(head):
                return
            self._phase = _Phase.IDLE
        self._enter(_Phase.TURN, self._service.limits.answer)
        self._loop.call_soon(self._next_turn)

    def _await_head(self) -> None:
        if self._input_ended:
            self._close()
        elif not len(self._heads):
            self._enter(_Phase.IDLE, self._service.limits.idle)
        elif self._phase is not _Phase.HEAD:
            self._enter(_Phase.HEAD, self._service.limits.head)

    def _next_turn(self) -> None:
        if self._phase is _Phase.TURN:
            self._resume()

    def _resume(self) -> None:
        """Go on with what was read ahead, and read again."""
        self._phase = _Phase.IDLE
        if not self._input_ended:
            self._loop.add_reader(self._socket, self._readable)
        self._advance()

    def _answer(self, head: Head) -> bool:
        """Return True when the answer was written and the next request may be read."""
        service = self._service
        service.observer.begin(head.request)
        exchange = _Exchange(head, self._loop.time())
        try:
            answer = service.handler(head.request)
        except Exception:
            logger.exception("the handler broke at %s", head.request.path)
            answer = _FAILURE
        if not isinstance(answer, Response) or not isinstance(answer.body, bytes):
            self._enter(_Phase.ANSWER, service.limits.answer)
            self._start(exchange, self._produce(exchange, answer))
            return False
        exchange.response = answer
        data = self._encode(exchange)
        try:
            written = self._socket.send(data)
        except BlockingIOError:
            written = 0
        except OSError:
            self._observe(exchange, complete=False)
            self._close(reset=True)
            return False
        if written < len(data):
            self._enter(_Phase.BODY, service.limits.transfer)
            self._start(exchange, self._sink.send(memoryview(data)[written:]))
            return False
        self._observe(exchange, complete=True)
        if not exchange.keep:
            self._linger()
        return exchange.keep

    def _start(self, exchange: _Exchange, work: Coroutine[None, None, None]) -> None:
        self._task = self._loop.create_task(self._run(exchange, work))
        self._service.tasks.add(self._task)
        self._task.add_done_callback(self._service.tasks.discard)

    async def _run(self, exchange: _Exchange, work: Coroutine[None, None, None]) -> None:
        """Answer a request that takes time, then go on with the next one."""
        complete = False
        try:
            await work
            complete = not self._aborted
        except TimeoutError as error:
            logger.debug("%s: %s", self.client, error)
            self._aborted = True
        except ConnectionError as error:
            logger.debug("%s: %s", self.client, error)
        except Exception as error:  # noqa: BLE001  # whatever it is, the client learns it by the cut
            logger.warning("%s: cut while sending %s: %s", self.client, exchange.head.request.path, error)
        finally:
            self._task = None
            self._observe(exchange, complete=complete)
            if not complete:
                self._close(reset=self._aborted)
        if not complete:
            return
        if exchange.keep and not self._service.draining:
            self._resume()
        else:
            self._linger()

    async def _produce(self, exchange: _Exchange, answer: Response | Awaitable[Response]) -> None:
        try:
            response = answer if isinstance(answer, Response) else await answer
        except Exception:
            logger.exception("the handler broke at %s", exchange.head.request.path)
            response = _FAILURE
        exchange.response = response
        body = response.body
        self._enter(_Phase.BODY, self._service.limits.transfer)
        if isinstance(body, bytes):
            await self._sink.send(self._encode(exchange))
            return
        try:
            data = self._encode(exchange)
            follows = exchange.response is response and not exchange.is_head and body.length > 0
            if follows:
                self._service.bodies.enter(self)
                sockets.cork(self._socket, on=True)
            await self._sink.send(data)
            if follows:
                await body.write_to(self._sink)
                sockets.cork(self._socket, on=False)
        finally:
            self._service.bodies.leave(self)
            await body.aclose()

    def _encode(self, exchange: _Exchange) -> bytes:
        """Return the answer's head, with the body if that is bytes."""
        response, service = exchange.response, self._service
        exchange.keep = (
            exchange.head.keep_alive and not service.draining and self._loop.time() < self._retire_at
        )
        body = response.body if isinstance(response.body, bytes) else b""
        length = len(body) if isinstance(response.body, bytes) else response.body.length
        if exchange.is_head and response.head_length is not None:
            length = response.head_length
        try:
            data = encode_head(response, length, keep_alive=exchange.keep)
        except ValueError:
            logger.exception("the handler broke at %s", exchange.head.request.path)
            exchange.response = _FAILURE
            return self._encode(exchange)
        return data if exchange.is_head else data + body

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        """Answer what is no acceptable request, and end."""
        self._service.observer.refused(self.client, status, message)
        response = refusal_response(status, message)
        body = response.body if isinstance(response.body, bytes) else b""
        with contextlib.suppress(OSError):
            self._socket.send(encode_head(response, len(body), keep_alive=False) + body)
        self._linger()

    def _observe(self, exchange: _Exchange, *, complete: bool) -> None:
        seconds = self._loop.time() - exchange.started
        self._service.observer.end(exchange.head.request, exchange.response, seconds, complete=complete)

    def _enter(self, phase: _Phase, seconds: float) -> None:
        self._phase = phase
        self._deadline = self._loop.time() + seconds

    def _linger(self) -> None:
        if self._input_ended:
            self._close()
            return
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._close()
            return
        self._enter(_Phase.LINGER, self._service.limits.linger)
        self._loop.add_reader(self._socket, self._readable)

    def _close(self, *, reset: bool = False) -> None:
        if self._phase is _Phase.CLOSED:
            return
        self._phase = _Phase.CLOSED
        self._loop.remove_reader(self._socket)
        if reset:
            sockets.reset(self._socket)
        else:
            self._socket.close()
        self._ended(self)
