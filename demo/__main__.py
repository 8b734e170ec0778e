"""The main job of the webhook, once, on this machine: ``python -m demo``.

An API server in small, the webhook under gunicorn with TLS, an OperatingSystemConfig sent to it as an API
server sends it, and what comes back shown to a person. All on loopback; nothing is left behind.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import jsonpatch

import documents
from demo import server
from demo.admission import AdmissionError, Answer, ApiServerClient
from demo.apiserver import ApiServer
from demo.certificates import Certificates, make
from webhook.context.landscape import EXTENSION, SECRET
from webhook.diff import render
from webhook.mutation.files import CERTIFICATE_KEYS

SAMPLE = Path(__file__).parent / "sample" / "osc.yaml"
BOOTSTRAP_URL = "https://spegel-demo.ingress.seed.example.com/bootstrap-nodes"

LEGEND = """\
+ is added, ~ is changed, - is removed.
  registries, hosts.toml   every registry asks the node's own cache first, then whom it asked before;
                           _default stands for all registries without an entry of their own
  plugins                  containerd keeps the packed layers, which are what other nodes ask for;
                           said once to containerd 1 and once to containerd 2
  files, units             the cache, a forwarder of its metrics, and the certificate with which it asks
                           for its first peers; the private key is only referred to
"""


class DemoError(Exception):
    """The demo cannot show what it should."""


class Stopped(BaseException):
    """A signal asked to end; what is open is closed on the way out."""

    def __init__(self, number: int) -> None:
        self.status = 128 + number


def main() -> int:
    """Run the demo and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="Start the webhook under gunicorn with TLS on loopback, send it an OperatingSystemConfig "
        "as an API server would, and show what it changes.",
        epilog="Colours on a terminal, unless NO_COLOR is set. Exit status: 0 when all is as it should be, "
        "1 when not, 2 for a wrong argument.",
    )
    parser.add_argument(
        "file",
        nargs="?",
        default=str(SAMPLE),
        help="OperatingSystemConfig, or AdmissionReview that holds one, as YAML or JSON [a small sample]",
    )
    file = parser.parse_args().file
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    try:
        _run(_operating_system_config(file), color=color)
        sys.stdout.flush()
    except (DemoError, documents.DocumentError, server.ServerError, AdmissionError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except Stopped as stopped:
        print("demo: stopped", file=sys.stderr)
        return stopped.status
    except BrokenPipeError:
        # Whoever read us has seen enough. Python must not try again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return 0


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    for again in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(again, signal.SIG_IGN)  # a second Ctrl-C must not interrupt the cleaning up
    raise Stopped(number)


def _run(osc: dict[str, Any], *, color: bool) -> None:
    namespace, name = osc["metadata"]["namespace"], osc["metadata"]["name"]
    with _webhook(namespace, color=color) as client:
        _step("3. The question, as an API server asks it", color=color)
        _detail(f"POST /webhooks/registry-spegel: UPDATE OperatingSystemConfig {namespace}/{name}")
        _detail(f"{len(json.dumps(osc)):,} bytes")
        answer = client.ask(osc)
        _step("4. The answer", color=color)
        _show(answer)
        if not answer.allowed:
            raise DemoError("the webhook did not allow the request")

        _step("5. What its patch changes", color=color)
        try:
            after = jsonpatch.apply_patch(osc, answer.patch)
        except jsonpatch.JsonPatchException as error:
            raise DemoError(f"the patch cannot be applied: {error}") from error
        changes = render(osc, after, color=color)
        print(f"\n{changes}\n{LEGEND}" if changes else "   nothing")

        _step("6. The same question about the result: nothing is left to do", color=color)
        again = client.ask(after)
        _show(again)
        if not again.allowed or again.patch:
            raise DemoError("the second patch should be empty")


@contextlib.contextmanager
def _webhook(namespace: str, *, color: bool) -> Iterator[ApiServerClient]:
    """Run the webhook and what it needs; gives who asks it."""
    with tempfile.TemporaryDirectory(prefix="registry-spegel-demo-") as temporary:
        directory = Path(temporary)
        certificates = make(directory)
        with ApiServer(*_objects(namespace, certificates)) as api_server:
            _step("1. A small API server, in place of a seed's", color=color)
            _detail(f"{api_server.url} has the Extension, the Cluster and the Secret of {namespace}")
            kubeconfig = api_server.write_kubeconfig(directory / "kubeconfig")
            with server.running(certificates, kubeconfig, directory) as webhook:
                _step("2. The webhook under gunicorn with TLS", color=color)
                _detail(f"https://127.0.0.1:{webhook.port} is ready, with a certificate made for this run")
                client = ApiServerClient(webhook.port, certificates.authority)
                try:
                    yield client
                finally:
                    client.close()


def _objects(namespace: str, certificates: Certificates) -> list[dict[str, Any]]:
    """What the webhook reads of a shoot: no providerConfig, so that all defaults apply."""
    extensions_api = "extensions.gardener.cloud/v1alpha1"
    shoot = {"metadata": {"name": "demo"}, "spec": {"networking": {"type": "calico"}}}
    # Only whether the three keys are there matters to the webhook; the nodes get their content.
    secret = {key: certificates.authority.read_bytes() for key in CERTIFICATE_KEYS}
    secret["url"] = BOOTSTRAP_URL.encode()
    return [
        {
            "apiVersion": extensions_api,
            "kind": "Extension",
            "metadata": {"name": EXTENSION, "namespace": namespace},
            "spec": {"type": EXTENSION},
        },
        {
            "apiVersion": extensions_api,
            "kind": "Cluster",
            "metadata": {"name": namespace},
            "spec": {"shoot": shoot},
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET, "namespace": namespace},
            "data": {key: base64.b64encode(value).decode() for key, value in secret.items()},
        },
    ]


def _operating_system_config(file: str) -> dict[str, Any]:
    document = documents.read(file)
    match document:
        case {"kind": "AdmissionReview", "request": {"object": dict(reviewed)}}:
            document = reviewed
    match document:
        case {"kind": "OperatingSystemConfig", "metadata": {"name": str(), "namespace": str()}}:
            osc: dict[str, Any] = document
            return osc
    raise DemoError(f"{file}: not an OperatingSystemConfig with name and namespace")


def _step(title: str, *, color: bool) -> None:
    print(f"\x1b[1;36m{title}\x1b[0m" if color else title)


def _detail(line: str) -> None:
    print(f"   {line}")


def _show(answer: Answer) -> None:
    verdict = "allowed" if answer.allowed else f"denied: {answer.message}"
    patch = f"JSON patch of {len(answer.patch)} operations, {answer.patch_bytes:,} bytes"
    _detail(f"{verdict}; {patch if answer.patch else 'no patch'}; {answer.milliseconds:.1f} ms")
    for warning in answer.warnings:
        _detail(f"warning: {warning}")


if __name__ == "__main__":
    sys.exit(main())
