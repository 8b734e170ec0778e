"""The parts of the demo, where the whole of it shows too little: who is asked, what is believed, who ends."""

from __future__ import annotations

import base64
import json
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import jsonpatch
import pytest
import yaml
from aiohttp import web

from demo.agent import certs_d, read_setup
from demo.errors import DemoError
from demo.image import REPOSITORY, TAG, make_image
from demo.layout import Layout
from demo.ports import replacements
from demo.processes import Processes
from demo.puller import Fetched, Part, Puller, Reference
from demo.upstream import Upstream
from webhook.mutation import Bootstrap, NodeContext, Ports, Program, mutate

ROOT = Path(__file__).parents[2]
SAMPLE = yaml.safe_load((ROOT / "demo" / "sample" / "osc.yaml").read_text())
IMAGE = make_image((1000, 2000))
CONTEXT = NodeContext(
    Ports(5000, 5001, 9090),
    resolve_tags=True,
    program=Program("registry.example.com/spegel:v1", "/spegel", 30),
    bootstrap=Bootstrap("https://sp.example.com/a%20b", "registry-spegel-bootstrap"),
)


def mutated(osc: dict[str, Any]) -> dict[str, Any]:
    after: dict[str, Any] = jsonpatch.apply_patch(osc, mutate(osc, CONTEXT).patch)
    return after


def with_file(path: str, text: str) -> dict[str, Any]:
    data = base64.b64encode(text.encode()).decode()
    file = {"path": path, "content": {"inline": {"encoding": "b64", "data": data}}}
    return SAMPLE | {"spec": SAMPLE["spec"] | {"files": [*SAMPLE["spec"]["files"], file]}}


class Silent:
    """Watches a pull and says nothing."""

    def begins(self, part: Part) -> None:
        pass

    def moves(self, part: Part, size: int) -> None:
        pass

    def ends(self, fetched: Fetched) -> None:
        pass


class Cache:
    """A registry on loopback that answers as a test wants."""

    def __init__(self, answer: Callable[[web.Request], web.Response]) -> None:
        self.asked: list[tuple[str, str]] = []
        self._answer = answer

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.path_qs))
        return self._answer(request)


def nothing(_: web.Request) -> web.Response:
    return web.Response(status=404)


def lies(request: web.Request) -> web.Response:
    digest = request.path.rpartition("/")[2]
    blob = next((blob for blob in IMAGE.blobs if blob.digest == digest), None)
    return web.Response(body=bytes(len(blob.data))) if blob else nothing(request)


@asynccontextmanager
async def pulling(
    directory: Path, cache: Cache, capabilities: str = '"pull", "resolve"'
) -> AsyncIterator[tuple[Puller, Upstream]]:
    """Run a cache that is asked first, and upstream; yield a puller that knows of them."""
    application = web.Application()
    application.router.add_get("/{path:.*}", cache.answer)
    runner = web.AppRunner(application, access_log=None)
    async with Upstream(IMAGE) as upstream, aiohttp.ClientSession() as session:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            hosts = directory / "certs.d" / "_default" / "hosts.toml"
            hosts.parent.mkdir(parents=True)
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            hosts.write_text(f'[host."{url}"]\n  capabilities = [{capabilities}]\n')
            yield Puller(session, directory / "certs.d", Layout(directory / "images")), upstream
        finally:
            await runner.cleanup()


async def test_the_cache_is_asked_first_and_upstream_for_what_it_has_not(tmp_path):
    cache = Cache(nothing)
    async with pulling(tmp_path, cache) as (puller, upstream):
        fetched = await puller.pull(Reference(upstream.name, REPOSITORY, TAG), Silent())
        wanted = [TAG, IMAGE.manifest.digest, *(blob.digest for blob in IMAGE.blobs)]
        assert [path.partition("?")[0].rpartition("/")[2] for _, path in cache.asked] == wanted
        assert [method for method, _ in cache.asked] == ["HEAD", *["GET"] * 4]
        assert {path.partition("?")[2] for _, path in cache.asked} == {f"ns={upstream.name}"}
        assert [one.host.url for one in fetched] == [f"http://{upstream.name}"] * 4
        seen = upstream.take()
    assert (seen.requests, seen.bytes) == (5, IMAGE.size)
    assert seen.blobs == {blob.digest: 1 for blob in IMAGE.blobs}
    index = json.loads((tmp_path / "images" / "index.json").read_text())
    [entry] = index["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == f"{upstream.name}/{REPOSITORY}:{TAG}"
    for blob in (IMAGE.manifest, *IMAGE.blobs):
        path = tmp_path / "images" / "blobs" / "sha256" / blob.digest.removeprefix("sha256:")
        assert path.read_bytes() == blob.data
    assert list((tmp_path / "images" / "ingest").iterdir()) == []


async def test_a_cache_that_may_not_resolve_is_not_asked_for_tags(tmp_path):
    cache = Cache(nothing)
    async with pulling(tmp_path, cache, '"pull"') as (puller, upstream):
        await puller.pull(Reference(upstream.name, REPOSITORY, TAG), Silent())
    assert {method for method, _ in cache.asked} == {"GET"}


async def test_what_is_not_what_its_digest_says_is_not_kept(tmp_path):
    async with pulling(tmp_path, Cache(lies)) as (puller, upstream):
        with pytest.raises(DemoError, match=r"^sha256:\w+ is something else: sha256:\w+$"):
            await puller.pull(Reference(upstream.name, REPOSITORY, TAG), Silent())
    assert len(list((tmp_path / "images" / "blobs" / "sha256").iterdir())) == 1  # the manifest


async def test_what_nobody_has_is_said_with_everybodys_reason(tmp_path):
    cache = Cache(nothing)
    async with pulling(tmp_path, cache) as (puller, upstream):
        await upstream.stop()
        image = Reference(upstream.name, REPOSITORY, TAG)
        with pytest.raises(
            DemoError, match=r"is not to be had: http://127.0.0.1:\d+ answers 404; Cannot conn"
        ):
            await puller.pull(image, Silent())


def test_a_node_gets_the_flags_of_the_unit_with_its_own_address_and_paths(tmp_path):
    setup = read_setup(mutated(SAMPLE))
    assert setup is not None
    assert setup.command[0] == "/opt/bin/spegel"
    assert setup.flags(tmp_path, "127.0.0.9") == [
        "registry",
        "--registry-addr=127.0.0.9:5000",
        "--router-addr=127.0.0.9:5001",
        "--metrics-addr=127.0.0.9:9090",
        f"--data-dir={tmp_path}/var/lib/spegel",
        "--bootstrap-kind=http",
        "--http-bootstrap-url=https://sp.example.com/a%20b",
        f"--http-bootstrap-cert-dir={tmp_path}/etc/spegel/bootstrap",
    ]
    setup.install(tmp_path, "127.0.0.9", {"ca.crt": b"c", "tls.crt": b"t", "tls.key": b"k"})
    key = tmp_path / "etc/spegel/bootstrap/tls.key"
    assert (key.read_bytes(), key.stat().st_mode & 0o777) == (b"k", 0o600)
    hosts = (certs_d(tmp_path) / "_default" / "hosts.toml").read_text()
    assert hosts == '[host."http://127.0.0.9:5000"]\n  capabilities = ["pull", "resolve"]\n'


def test_a_file_may_stand_for_all_registries():
    path = "/etc/containerd/certs.d/_default/hosts.toml"
    setup = read_setup(mutated(with_file(path, '[host."https://mirror.example.com"]\n')))
    assert setup is not None
    assert setup.capabilities == ["pull", "resolve"]


def test_without_the_unit_there_is_no_cache():
    assert read_setup(SAMPLE) is None
    assert read_setup({"spec": {"units": [{"name": "spegel.service"}, {}]}}) is None


def test_a_second_demo_leaves_the_defaults_to_the_first():
    fields = {"registryPort": 5000, "routerPort": 5001, "metricsPort": 9090}
    with replacements(["127.0.0.2", "127.0.0.3"]), replacements(["127.0.0.2", "127.0.0.3"]) as second:
        assert {field: default for field, (default, _) in second.items()} == fields
        others = [port for _, port in second.values()]
        assert len({*others, *fields.values()}) == 6
        for port in others:
            socket.create_server(("127.0.0.3", port)).close()


async def test_a_process_that_ends_by_itself_ends_the_others_and_what_waits(tmp_path):
    started = []

    async def run() -> None:
        async with Processes(tmp_path) as processes:
            started.append(await processes.start("one", ["/bin/sleep", "600"]))
            two = await processes.start("two", ["/bin/sh", "-c", "echo no such thing; exit 3"])
            await two.until(never)

    async def never() -> None:
        return None

    with pytest.raises(DemoError) as raised:
        await run()
    assert str(raised.value) == "two ended with status 3. The end of its log:\n  no such thing"
    assert started[0].child.returncode == -signal.SIGTERM
