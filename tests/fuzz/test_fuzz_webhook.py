"""Spoiled requests to the WSGI application: every one gets an answer that an API server can work with.

``tox -e fuzz`` sends 100,000 of them; the default run a few. FUZZ_REQUESTS and FUZZ_SEED choose others.
"""

from __future__ import annotations

import base64
import gc
import io
import json
import logging
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonpatch
import pytest

from serving.settings import load
from tests.fuzz.mutators import as_json, spoil_bytes, spoil_environ, spoil_structure
from tests.unit.admission_samples import (
    SAMPLES,
    Shoot,
    cluster,
    extension,
    osc,
    request,
    sample,
    secret,
    shoot_request,
)
from webhook.server.app import create_app
from webhook.settings import ServerSettings

REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "3000"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
SECONDS_PER_REQUEST = 30
MUTATE, VALIDATE = "/webhooks/registry-spegel", "/webhooks/validate-shoot"
STATUSES = {200, 308, 400, 404, 405, 413, 415}


def hosts_toml(registry: str, text: str, encoding: str | None = "b64", **members: Any) -> dict[str, Any]:
    data = base64.b64encode(text.encode()).decode() if encoding == "b64" else text
    inline = {"data": data} if encoding is None else {"encoding": encoding, "data": data}
    path = f"/etc/containerd/certs.d/{registry}/hosts.toml"
    return {"path": path, "permissions": 420, "content": {"inline": inline}} | members


def busy_osc() -> dict[str, Any]:
    """Small, with something of everything that the mutation looks at."""
    commented = 'server = "https://quay.io"\n\n[host."https://a"]  # first\n  capabilities = ["pull"]\n'
    spelled = "host.'http://LOCALHOST:5000/'.capabilities = ['pull']\nhost.'https://a'.ca = ['/a', '/b']\n"
    linked = {"secretRef": {"name": "a", "dataKey": "b"}}
    program = {"imageRef": {"image": "a", "filePathInImage": "/b"}}
    cache = {"url": "http://10.0.0.1:5000"}
    mirror = {"url": "https://m", "capabilities": ["pull"], "caCerts": ["/ca"], "overridePath": True}
    containerd = {
        "sandboxImage": "pause:3.10",
        "registries": [
            {"upstream": "docker.io", "server": "https://registry-1.docker.io", "hosts": [cache]},
            {"upstream": "_default", "hosts": [mirror]},
            {"upstream": "ghcr.io"},
        ],
        "plugins": [
            {"path": ["io.containerd.grpc.v1.cri", "containerd"], "values": {"discard_unpacked_layers": True}}
        ],
    }
    return osc(
        criConfig={"name": "containerd", "cgroupDriver": "systemd", "containerd": containerd},
        files=[
            hosts_toml("quay.io", commented),
            hosts_toml("gcr.io", spelled, encoding=""),
            hosts_toml("gcr.io", spelled, encoding=None, hostName="node-1"),
            {"path": "/etc/containerd/certs.d/k8s.io/hosts.toml", "content": linked},
            {"path": "/opt/bin/spegel", "content": program},
        ],
        units=[{"name": "spegel.service", "content": "[Unit]\n"}, {"name": "kubelet.service"}],
    )


def shoot() -> dict[str, Any]:
    thing = sample("shoot.yaml")
    config = {
        "apiVersion": "spegel.extensions.gardener.cloud/v1alpha1",
        "kind": "SpegelConfig",
        "registryPort": 5000,
    }
    thing["spec"]["extensions"][0]["providerConfig"] = config
    return thing


class Target:
    """The application, the reviews it is sent, and the objects it finds."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.objects = [extension(), cluster(), secret()]
        self.landscape = Shoot(*self.objects)
        settings = load(
            ServerSettings, {"address": "127.0.0.1", "cache_seconds": 0, "max_body_bytes": 600_000}
        )
        self.app = create_app(settings, self.landscape, lambda: None).wsgi_app
        wrap = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
        update = request(busy_osc(), operation="UPDATE", oldObject=busy_osc())
        self.small = [
            (MUTATE, wrap | {"request": request(busy_osc())}),
            (MUTATE, wrap | {"request": update}),
            (MUTATE, wrap | {"request": request()}),
            (VALIDATE, wrap | {"request": shoot_request(shoot())}),
            (VALIDATE, wrap | {"request": shoot_request(shoot(), operation="UPDATE", oldObject=shoot())}),
        ]
        self.large = [
            (MUTATE, json.loads((SAMPLES / f"admissionreview-{name}.json").read_bytes()))
            for name in ("create", "update")
        ]

    def spoiled(self) -> tuple[dict[str, Any], bytes]:
        """An environment and a body that are not as they should be."""
        chance = self.chance
        path, document = chance.choice(self.large if chance.random() < 0.01 else self.small)
        way = chance.random()
        if way < 0.6:
            body = as_json(spoil_structure(chance, document))
        elif way < 0.9:
            body = spoil_bytes(chance, as_json(document))
        else:
            body = as_json(document)
        self.landscape.objects = dict(zip(self.landscape.objects, self.objects, strict=True))
        self.landscape.reads.clear()
        if way >= 0.95:
            name = chance.choice(list(self.landscape.objects))
            self.landscape.objects[name] = spoil_structure(chance, self.landscape.objects[name])
        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "443",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "https",
            "wsgi.errors": io.StringIO(),
            "wsgi.input": io.BytesIO(body),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        if chance.random() < 0.05:
            spoil_environ(chance, environ)
        return environ, body

    def send(self, environ: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        started: list[Any] = []
        chunks = self.app(environ, lambda status, headers, exc_info=None: started.extend((status, headers)))
        body = b"".join(chunks)
        return int(started[0].split()[0]), dict(started[1]), body


def check(status: int, headers: dict[str, str], answer: bytes, body: bytes) -> str:
    """Assert what holds for every answer, and say of which sort it is."""
    assert status in STATUSES
    if headers["Content-Type"] != "application/json":
        text = answer.decode()
        assert text.removesuffix("\n").isprintable() or status == 200
        return str(status)
    assert status == 200
    response = json.loads(answer)["response"]
    asked = json.loads(body)["request"]
    assert response["uid"] == asked["uid"]
    assert all(warning.isprintable() and len(warning) <= 256 for warning in response.get("warnings", []))
    if not response["allowed"]:
        assert "patch" not in response
        assert response["status"]["code"] in (400, 422, 500)
        message = response["status"]["message"]
        assert message
        assert message.isprintable()
        assert "unexpected error" not in message
        return f"denied {response['status']['code']}"
    if "patch" in response:
        patch = json.loads(base64.b64decode(response["patch"], validate=True))
        jsonpatch.apply_patch(asked["object"], patch, in_place=True)
        return "patched"
    return "allowed"


@contextmanager
def in_time() -> Iterator[None]:
    """Fail where a request hangs instead of hanging with it."""

    def expired(*_: object) -> None:
        raise TimeoutError("the request hangs")

    before = signal.signal(signal.SIGALRM, expired)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def memory() -> tuple[int, int]:
    """Objects that the collector knows, and bytes in use."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return len(gc.get_objects()), pages * os.sysconf("SC_PAGE_SIZE")


def test_spoiled_requests_are_answered(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="webhook")
    target = Target(random.Random(SEED))
    outcomes: Counter[str] = Counter()
    warm = (0, 0)
    with in_time():
        for number in range(REQUESTS):
            if number == REQUESTS // 2:
                warm = memory()
            environ, body = target.spoiled()
            signal.setitimer(signal.ITIMER_REAL, SECONDS_PER_REQUEST)
            try:
                outcomes[check(*target.send(environ), body)] += 1
            except Exception as error:
                error.add_note(f"FUZZ_SEED={SEED}, request {number}: {body[:2000]!r}")
                raise
    objects, resident = memory()
    assert objects - warm[0] < 2000
    assert resident - warm[1] < 32 << 20
    # All kinds of ends were reached, or the spoiling would be of no use.
    assert {"400", "404", "405", "415", "patched", "allowed", "denied 400", "denied 422"} <= set(outcomes)
    logging.getLogger("fuzz").warning("answers to %d requests: %s", REQUESTS, dict(outcomes))


def test_the_reviews_it_starts_from_are_good() -> None:
    target = Target(random.Random(SEED))
    for path, document in [*target.small, *target.large]:
        environ, _ = target.spoiled()
        body = as_json(document)
        environ |= {"PATH_INFO": path, "REQUEST_METHOD": "POST", "CONTENT_TYPE": "application/json"}
        environ |= {"CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
        target.landscape.objects = {"extension": extension(), "cluster": cluster(), "secret": secret()}
        assert check(*target.send(environ), body) in {"patched", "allowed"}
