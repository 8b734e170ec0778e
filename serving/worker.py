"""A gunicorn worker whose threads see whole requests only.

gunicorn's own threads wait for the handshake, the head and the body of a request, so that a few dozen
clients that connect and say nothing hold up everyone else. Here the event loop collects a request
without waiting, a thread gets it when it is complete, and a client that takes too long is dropped. The
same goes for the end of a connection: what a refused client still sends is read away by the loop.
"""

from __future__ import annotations

import errno
import itertools
import math
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from gunicorn import http
from gunicorn.workers.gthread import TConn, ThreadWorker

from serving import refusal
from serving.arrival import Arrival
from serving.turns import Turns

if TYPE_CHECKING:
    from serving.server import Listener

LINGER_SECONDS = 2.0
"""How long a connection is read away before it is closed, and a silent one outlives the order to stop."""
_READ_BYTES = 1 << 16  # more than a TLS record, so that none is left half-read where no poller sees it
_UNREAD_BODY_SECONDS = 0.05
_HANDSHAKES = 100  # under way at the same time, up to the first answer
_HANDSHAKE_PATIENCE_SECONDS = 0.25
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Connection(TConn):
    """A client's connection, between requests or with one on its way in."""

    sock: socket.socket
    parser: Any

    def __init__(self, worker: Worker, client: socket.socket, address: Any, server: Any) -> None:
        self._listener = worker.listener(server)
        super().__init__(worker.cfg, client, address, (self._listener.name, server.getsockname()[1]))
        self._worker = worker
        self._context: ssl.SSLContext | None = None
        self._certificate_end = math.inf
        self.greeted = self._listener.tls is None
        """The handshake is done, or there is none."""
        self.descriptor: int | None = None
        """Where the poller watches it."""
        self.deadline = 0.0
        self.arrival: Arrival

    def expect(self) -> bool:
        """Prepare for a request; True when it came along with the one before."""
        options = self._worker.app.options
        self.deadline = time.monotonic() + options.client_timeout_seconds
        self.arrival = Arrival(options.max_body_bytes)
        early = self.parser.unreader.take_buffered() if self.parser else b""
        return bool(early) and self.arrival.feed(early)

    def receive(self) -> bool:
        """Take what is there without waiting, and say whether a thread should take over.

        Raises:
            OSError: the connection is of no more use.
        """
        try:
            if not self.initialized:
                self._start()
            if not self.greeted:
                self._greet()
            while data := self.sock.recv(_READ_BYTES):
                if self.arrival.feed(data):
                    return True
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        if not self.arrival.data:
            raise ConnectionAbortedError("closed by the client")
        return True

    @property
    def has_session(self) -> bool:
        """Whether it is a TLS connection after its handshake."""
        return self.greeted and self._context is not None

    def is_outdated(self) -> bool:
        """Say whether the files it was made with have been renewed, or the client's certificate has ended."""
        tls = self._listener.tls
        return tls is not None and (tls() is not self._context or time.time() > self._certificate_end)

    def dropped(self, error: OSError) -> None:
        """Tell the gate if the client never got so far as to ask for something."""
        gate = self._listener.gate
        if gate is not None and not self.greeted and (why := refusal.reason(error)):
            gate.refused(why)

    def hand_over(self) -> None:
        """Give what has arrived to the parser, which a thread then asks for the request."""
        self.parser.unreader.unread(bytes(self.arrival.data))
        self.arrival.data.clear()

    def close(self, graceful: bool = False) -> None:  # noqa: FBT001, FBT002 - the base's signature
        """Close, or when graceful let the worker do so once the client has read the answer."""
        if graceful:
            self._worker.linger(self)
        else:
            super().close()

    def _start(self) -> None:
        """Do without waiting what the base does in a thread."""
        self.initialized = True
        if self._listener.tls is not None:
            self._context = self._listener.tls()
            self.sock = self._context.wrap_socket(self.sock, server_side=True, do_handshake_on_connect=False)
        self.parser = http.get_parser(self.cfg, self.sock, self.client)

    def _greet(self) -> None:
        """Do what can be done of the handshake."""
        assert isinstance(self.sock, ssl.SSLSocket)  # noqa: S101 - made so by _start
        self.sock.do_handshake()
        if (certificate := self.sock.getpeercert()) and (end := certificate.get("notAfter")):
            self._certificate_end = ssl.cert_time_to_seconds(str(end))
            if time.time() > self._certificate_end:
                # OpenSSL does not look at the certificate of a session that is resumed.
                raise refusal.ExpiredError
            if self._listener.gate is not None:
                self._listener.gate.identified(self._certificate_end)
        self.greeted = True


class Worker(ThreadWorker):
    """Collects requests in its event loop and answers them in its threads."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._arriving: dict[Connection, None] = {}  # the one that has been quiet for longest comes first
        self._lingering: dict[Connection, None] = {}
        self._quiet: dict[Connection, float] = {}  # of these, after a handshake: since when, in order
        self._handshakes: Turns[Connection] = Turns(_HANDSHAKES, _HANDSHAKE_PATIENCE_SECONDS)
        self._stopping = False

    def listener(self, bound: Any) -> Listener:
        """Say which of the listeners a bound socket is."""
        listener: Listener = self.app.options.listeners[self.sockets.index(bound)]
        return listener

    def accept(self, listener: socket.socket) -> None:
        """Take a new connection, in place of one that is quiet when there are too many."""
        if self.nr_conns >= self.worker_connections - 1:
            self._drop_quietest()
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            self.log.warning("a client has to wait: %s", error)
            self._drop_quietest()
            return
        conn = Connection(self, client, address, listener)
        gate = self.listener(listener).gate
        if gate is not None and not gate.admit(address[0]):
            gate.refused("rate")
            conn.close()
            return
        self.nr_conns += 1
        self.enqueue_req(conn)

    def enqueue_req(self, conn: Connection) -> None:
        """Collect the next request of a connection before a thread gets it."""
        if conn.expect():
            self._dispatch(conn)
            return
        conn.sock.settimeout(0)
        self._watch(conn, self._collect if conn.greeted else self._first_word)
        self._arriving[conn] = None

    def on_client_socket_readable(self, conn: Connection, client: Any) -> None:
        """Take up a kept connection again, unless it was dropped by what happened at the same moment."""
        if conn in self.keepalived_conns:
            super().on_client_socket_readable(conn, client)

    def handle_request(self, req: Any, conn: Connection) -> Any:
        """Answer a request; neither reading a rest of it nor writing the answer takes forever."""
        conn.sock.settimeout(self.app.options.client_timeout_seconds)
        if conn.is_outdated():
            req.force_close()  # this request is answered; for the next one the client has to identify itself
        return super().handle_request(req, conn)

    def finish_request(self, conn: Connection, fs: Any) -> None:
        """Go on after an answer; whoever waits for a handshake may begin."""
        self._handshakes.end(conn)
        super().finish_request(conn, fs)
        self._limit_quiet()

    def linger(self, conn: Connection) -> None:
        """Close a connection without a reset, which could overtake the answer on its way to the client."""
        try:
            conn.sock.settimeout(0)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            conn.close()
            return
        conn.deadline = time.monotonic() + LINGER_SECONDS
        self._watch(conn, self._read_away)
        self._lingering[conn] = None

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for events, but not so long that those who wait for a handshake would notice."""
        if self._handshakes:
            timeout = min(timeout, _HANDSHAKE_PATIENCE_SECONDS)
        super().wait_for_and_dispatch_events(timeout)

    def murder_pending(self) -> None:
        """Drop those whose time is over; the loop calls this at each turn."""
        now = time.monotonic()
        for conn in self._handshakes.next(now):
            conn.expect()  # its time begins now: so far it was us who were slow
            self._arriving[conn] = None
            self._watch(conn, self._collect)
        if not self.alive and not self._stopping:
            self._stopping = True
            for conn in self._arriving:
                if not conn.arrival.data:
                    conn.deadline = min(conn.deadline, now + LINGER_SECONDS)
        for conn in self._overdue(self._arriving, now):
            self._drop(conn, TimeoutError())
        for conn in self._overdue(self._lingering, now):
            self._end(conn)

    def _overdue(self, conns: Iterable[Connection], now: float) -> list[Connection]:
        """Return those whose time is over; until the worker stops they stand in the order of deadlines."""

        def is_over(conn: Connection) -> bool:
            return conn.deadline <= now

        return list(filter(is_over, conns) if self._stopping else itertools.takewhile(is_over, conns))

    def _keepalive_after(self, conn: Connection, keepalive: Any) -> bool:
        """Say whether the connection can be used again; an unread body that has arrived does not hinder."""
        deadline = time.monotonic() + _UNREAD_BODY_SECONDS
        return bool(keepalive) and bool(conn.parser.finish_body(deadline=deadline))

    def _first_word(self, conn: Connection) -> None:
        """The client has begun to speak; a silent one takes no place from others."""
        self._unwatch(conn)
        if self._handshakes.begin(conn, time.monotonic()):
            self._watch(conn, self._collect)
        else:
            del self._arriving[conn]

    def _collect(self, conn: Connection) -> None:
        try:
            complete = conn.receive()
        except OSError as error:
            self.log.debug("dropped a connection: %s", error)
            self._drop(conn, error)
            return
        self._handshakes.progress(conn, time.monotonic())
        self._quiet.pop(conn, None)
        if complete:
            del self._arriving[conn]
            self._unwatch(conn)
            self._dispatch(conn)
        elif conn.has_session:
            self._quiet[conn] = time.monotonic()
            self._limit_quiet()

    def _dispatch(self, conn: Connection) -> None:
        conn.hand_over()
        super().enqueue_req(conn)

    def _drop_quietest(self) -> None:
        if conn := next(iter(self._arriving), None):
            self._drop(conn, TimeoutError())
        elif self.keepalived_conns:
            self._drop_oldest_kept()

    def _limit_quiet(self) -> None:
        """Close those that have been quiet for longest while too many hold a TLS session."""
        limit = self.app.options.quiet_connections
        while limit is not None and len(self._quiet) + len(self.keepalived_conns) > limit:
            conn, since = next(iter(self._quiet.items()), (None, math.inf))
            kept = (
                self.keepalived_conns[0].timeout - self.cfg.keepalive if self.keepalived_conns else math.inf
            )
            if conn is None or kept < since:
                self._drop_oldest_kept()
            else:
                self._drop(conn, TimeoutError())

    def _drop_oldest_kept(self) -> None:
        self.keepalived_conns[0].timeout = 0.0
        self.murder_keepalived()

    def _drop(self, conn: Connection, error: OSError) -> None:
        conn.dropped(error)
        self._handshakes.end(conn)
        self._quiet.pop(conn, None)
        del self._arriving[conn]
        self._unwatch(conn)
        self.nr_conns -= 1
        # What TLS has to say about a failed handshake should reach the client.
        conn.close(graceful=isinstance(error, ssl.SSLError))

    def _read_away(self, conn: Connection) -> None:
        try:
            if socket.socket.recv(conn.sock, _READ_BYTES):  # below TLS, which is over
                return
        except BlockingIOError:
            return
        except OSError as error:
            self.log.debug("a connection broke: %s", error)
        self._end(conn)

    def _end(self, conn: Connection) -> None:
        del self._lingering[conn]
        self._unwatch(conn)
        conn.close()

    def _watch(self, conn: Connection, callback: Callable[[Connection], None]) -> None:
        def readable(_: object) -> None:
            if conn.descriptor is not None:  # not dropped by what happened at the same moment
                callback(conn)

        # By descriptor: the socket becomes another object when TLS is put around it.
        conn.descriptor = conn.sock.fileno()
        self.poller.register(conn.descriptor, selectors.EVENT_READ, readable)

    def _unwatch(self, conn: Connection) -> None:
        if conn.descriptor is not None:
            self.poller.unregister(conn.descriptor)
            conn.descriptor = None
