"""The webhook as a process of its own, as its container runs it."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from demo.certificates import Certificates

START_SECONDS = 30.0
STOP_SECONDS = 5.0
_LISTENING = re.compile(r"Listening at: https://127\.0\.0\.1:(\d+)")


@dataclass(frozen=True, slots=True)
class Running:
    """A webhook that is ready."""

    port: int
    pid: int
    """Of gunicorn's master process."""


class ServerError(Exception):
    """The webhook did not start; the message ends with what it logged."""


@contextlib.contextmanager
def running(certificates: Certificates, kubeconfig: Path, directory: Path) -> Iterator[Running]:
    """Run the webhook on loopback while entered; given once it is ready.

    Raises:
        ServerError: it ended, or was not ready in time.
    """
    log = directory / "webhook.log"
    command = [sys.executable, "-m", "webhook", "serve", "--address=127.0.0.1", "--port=0"]
    command += [f"--tls-certificate={certificates.certificate}", f"--tls-key={certificates.key}"]
    command += [f"--kubeconfig={kubeconfig}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WEBHOOK_")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield Running(_wait_until_ready(process, certificates, log), process.pid)
    finally:
        _stop(process)


def _wait_until_ready(process: subprocess.Popen[bytes], certificates: Certificates, log: Path) -> int:
    deadline = time.monotonic() + START_SECONDS
    trust = ssl.create_default_context(cafile=certificates.authority)
    while time.monotonic() < deadline and process.poll() is None:
        listening = _LISTENING.search(log.read_text())
        if listening and _is_ready(int(listening[1]), trust):
            return int(listening[1])
        time.sleep(0.02)
    state = "is not ready" if process.poll() is None else f"ended with status {process.returncode}"
    raise ServerError(f"the webhook {state}:\n{log.read_text()}")


def _is_ready(port: int, trust: ssl.SSLContext) -> bool:
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=trust, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    try:
        process.terminate()
        _wait(process)
    finally:
        _wait(process)  # again, where a signal cut the first waiting short


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()  # its workers end when they find it gone
        process.wait()
