"""Running an application under gunicorn, embedded: no configuration but what is said here."""

from __future__ import annotations

import gc
import os
import resource
import shutil
import ssl
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gunicorn.app.base import BaseApplication
from gunicorn.config import Config
from gunicorn.glogging import Logger

from serving import arrival
from serving.worker import Worker

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

_WORKER_TIMEOUT_SECONDS = 30  # without a sign from a process's event loop
_OTHER_DESCRIPTORS = 256  # than those of the connections that gunicorn counts
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - files there have unguessable names


class Gate(Protocol):
    """Who may come in, and who is told of those who did not."""

    def admit(self, address: str) -> bool:
        """Say whether a connection from an IP address is taken."""

    def identified(self, end: float) -> None:
        """Be told when the certificate that a client has shown ends, in seconds since 1970."""

    def refused(self, reason: str) -> None:
        """Be told that a connection ended before its first request; see serving.refusal for the reasons."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Where to listen, and how."""

    address: IPv4Address | IPv6Address
    port: int
    tls: Callable[[], ssl.SSLContext] | None
    """Returns the context for a new connection; without it the connection is plain."""
    gate: Gate | None = None
    name: str = "server"
    """What the application finds as SERVER_NAME, to tell listeners apart."""

    @property
    def host(self) -> str:
        """The address as it stands in a URL."""
        return f"[{self.address}]" if self.address.version == 6 else str(self.address)


@dataclass(frozen=True, slots=True)
class Options:
    """What a server does its work with."""

    name: str
    """Of its processes and of its directory."""
    listeners: tuple[Listener, ...]
    workers: int
    threads: int
    connections: int
    """Of a process, with a request under way or between two. When there are more, the one that has been
    quiet for longest is closed."""
    keepalive_seconds: int
    client_timeout_seconds: float
    """Time a client has to send a whole request, and to take the answer."""
    shutdown_timeout_seconds: int
    max_body_bytes: int
    quiet_connections: int | None = None
    """After a TLS handshake, of which each takes 25 KB, and without a request under way. When there are more,
    the one that has been quiet for longest is closed."""


def serve(options: Options, load: Callable[[Path], WSGIApplication]) -> None:
    """Serve until told to stop by SIGTERM or SIGINT; ends by SystemExit.

    Args:
        options: see there.
        load: makes the application, in each process, after the fork. It is given a directory, in memory
            where that can be had, which all processes share and which is removed at the end.
    """
    _allow_descriptors(2 * options.connections + _OTHER_DESCRIPTORS)
    # Figures are shared by files, which the client library looks for when it is imported. Heartbeats
    # are files too. Both are best kept in memory; the root file system may be read-only.
    directory = Path(tempfile.mkdtemp(prefix=f"{options.name}-", dir=memory()))
    figures = directory / "figures"
    figures.mkdir()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(figures)
    process = os.getpid()
    try:
        _Server(options, lambda: _settled(load(directory))).run()
    finally:
        if os.getpid() == process:  # the processes that gunicorn forks come by here too
            shutil.rmtree(directory, ignore_errors=True)


class _Server(BaseApplication):
    """What gunicorn asks for its configuration and for the application."""

    def __init__(self, options: Options, load: Callable[[], WSGIApplication]) -> None:
        self.options = options
        self.load = load
        super().__init__()

    def load_config(self) -> None:
        options = self.options
        values: dict[str, Any] = {
            "bind": [f"{listener.host}:{listener.port}" for listener in options.listeners],
            "worker_class": Worker,
            "workers": options.workers,
            "threads": options.threads,
            "worker_connections": options.connections,
            "timeout": _WORKER_TIMEOUT_SECONDS,
            "graceful_timeout": options.shutdown_timeout_seconds,
            "keepalive": options.keepalive_seconds,
            "limit_request_line": arrival.MAX_REQUEST_LINE_BYTES,
            "limit_request_fields": arrival.MAX_HEADERS,
            "limit_request_field_size": arrival.MAX_HEADER_BYTES,
            "worker_tmp_dir": str(directory) if (directory := memory()) else None,
            "control_socket_disable": True,
            "logger_class": _Logger,
            "when_ready": self._say_where,
            "child_exit": _forget,
            "proc_name": options.name,
        }
        for name, value in values.items():
            self.cfg.set(name, value)

    def _say_where(self, arbiter: Any) -> None:
        # gunicorn's own line would have one scheme for all listeners.
        listeners: Iterable[tuple[Any, Listener]] = zip(
            arbiter.LISTENERS, self.options.listeners, strict=True
        )
        urls = [
            f"{'https' if listener.tls else 'http'}://{listener.host}:{bound.getsockname()[1]}"
            for bound, listener in listeners
        ]
        arbiter.log.info("Listening at: %s", " ".join(urls))


class _Logger(Logger):
    """Leaves the handlers alone, so that gunicorn's own lines are as those of everyone else."""

    def setup(self, cfg: Config) -> None:
        """Take the place of the base's, which makes handlers of its own."""
        self.cfg = cfg
        self._access_log_enabled = False  # the application's own lines say more
        self.error_log.propagate = True

    def info(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Log, but not where gunicorn thinks that it listens."""
        if not msg.startswith("Listening at: %s (%s)"):
            super().info(msg, *args, **kwargs)


def _settled(application: WSGIApplication) -> WSGIApplication:
    """Take what is there from the start out of the garbage collector's rounds, which hold up everyone."""
    gc.collect()
    gc.freeze()
    return application


def _forget(_arbiter: Any, worker: Worker) -> None:
    """Take a process that has ended out of the figures of the living."""
    from prometheus_client import multiprocess  # noqa: PLC0415 - see serving.figures

    multiprocess.mark_process_dead(worker.pid)


def memory() -> Path | None:
    """Return a directory in memory, or None where there is none that can be written to."""
    return _SHARED_MEMORY if _SHARED_MEMORY.is_dir() and os.access(_SHARED_MEMORY, os.W_OK) else None


def _allow_descriptors(number: int) -> None:
    """Raise the soft limit as far as needed and allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number if hard == resource.RLIM_INFINITY else min(number, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
