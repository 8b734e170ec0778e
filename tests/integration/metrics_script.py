"""spegel_metrics.sh as a process, between a daemon that answers as told and a directory."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "webhook" / "mutation" / "spegel_metrics.sh"
NODE_PROGRAMS = ("curl", "mkdir", "mv", "rm", "sleep")
"""All that the script may call: curl, and some of coreutils."""

Answer = Callable[[BaseHTTPRequestHandler], None]


def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition; the deadline only bounds how long a failing test takes."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"not within the deadline: {what}"
        time.sleep(0.01)


def raw(head: bytes, body: bytes = b"") -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 " + head + b"\r\nConnection: close\r\n\r\n" + body)

    return answer


def whole(body: bytes, status: bytes = b"200 OK") -> Answer:
    return raw(status + b"\r\nContent-Length: %d" % len(body), body)


class Daemon:
    """What stands where the Spegel daemon's metrics are; its answer can be changed at any time."""

    def __init__(self) -> None:
        self.answer: Answer = whole(b"")
        self.requests = 0
        daemon = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                daemon.requests += 1
                try:
                    daemon.answer(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.port: int = self._server.server_address[1]

    def answers(self, times: int) -> None:
        """Wait until so many more requests have begun."""
        enough = self.requests + times
        eventually(lambda: self.requests >= enough, f"{times} requests")

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


ENV = shutil.which("env") or "/usr/bin/env"


class Script:
    """The running script."""

    def __init__(self, daemon: Daemon, tmp_path: Path, *prefix: str, interval: str = "0.05") -> None:
        self.directory = tmp_path / "node exporter" / "textfile"
        self.errors = tmp_path / "stderr"
        programs = tmp_path / "bin"
        if not programs.exists():
            programs.mkdir()
            for name in NODE_PROGRAMS:
                (programs / name).symlink_to(shutil.which(name) or f"/missing/{name}")
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                # As systemd does: with no signal ignored, which the shell that runs the tests may have done.
                [*prefix, ENV, "--default-signal", "/bin/bash", SCRIPT],
                env={
                    "PATH": str(programs),
                    "SPEGEL_METRICS_URL": f"http://localhost:{daemon.port}/metrics",
                    "SPEGEL_METRICS_DIR": str(self.directory),
                    "SPEGEL_METRICS_INTERVAL": interval,
                    "http_proxy": "http://127.0.0.1:1",  # must not get between the script and localhost
                },
                stderr=errors,
                start_new_session=True,
            )

    @property
    def published(self) -> Path:
        return self.directory / "spegel.prom"

    def content(self) -> bytes | None:
        try:
            return self.published.read_bytes()
        except FileNotFoundError:
            return None

    def said(self) -> list[str]:
        return self.errors.read_text().splitlines()

    def children(self) -> list[int]:
        """The processes of its session that are still there."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                _, state, _, _, session, *_ = re.sub(r"\(.*\)", "()", stat.read_text()).split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(session) == self.process.pid and state != "Z":
                found.append(int(stat.parent.name))
        return found

    def kill(self) -> None:
        """End it and what it started, as a crash or the kernel's out-of-memory killer does."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
