"""The pages over a socket, on a store and a router with real content."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from http import HTTPStatus
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from daemon.http.client import get
from daemon.http.message import Request, Response
from daemon.http.quiet import Quiet
from daemon.http.server import Server
from daemon.metrics import Metrics
from daemon.mirror import Mirror
from daemon.oci.filters import Filters, parse_filters
from daemon.oci.reference import InvalidReferenceError
from daemon.registry.facts import Facts
from daemon.registry.handler import Registry
from daemon.routing.base import Peer
from daemon.routing.memory import Hub, MemoryRouter
from daemon.store.base import StoreError
from daemon.store.layout import LayoutStore
from daemon.web.catalogue import read_catalogue
from daemon.web.handler import Pages, Surroundings
from daemon.web.measure import Meter, complete
from daemon.web.profiling import sample
from tests.daemon.images import TestImage, make_image
from tests.daemon.layouts import lay_out

NAME = "docker.io/library/app:1"
LOOPBACK = IPv4Address("127.0.0.1")


def layout(directory: Path, images: dict[str, TestImage]) -> LayoutStore:
    """Make a store of images by name."""
    lay_out(directory, images)
    return LayoutStore(directory)


class Node:
    """A registry with its pages; shares a hub with others."""

    def __init__(self, hub: Hub, name: str, store: LayoutStore, **offer: bool) -> None:
        self.name, self.store = name, store
        self.metrics = Metrics("1")
        placeholder = Peer(name, (LOOPBACK,), 0)
        self.router = MemoryRouter(hub, placeholder)
        self.mirror = Mirror(self.router, self.metrics, resolve_timeout=5)
        handler = Registry(store, Facts(store), self.mirror, self.metrics, ready=self.router.ready)
        self.registry = Server(handler, Quiet())
        self.registry.listen("127.0.0.1:0")
        self.router._me = Peer(name, (LOOPBACK,), self.registry.port)
        meter = Meter(self.router, self.mirror.history, ("127.0.0.1", self.registry.port), None)
        about = Surroundings(
            "1",
            f"host of {name}",
            "a layout",
            store,
            self.router,
            self.mirror.history,
            self.metrics,
            Filters(),
            meter,
        )
        self.pages = Server(
            Pages(about, web=offer.get("web", True), profiling=offer.get("profiling", False)), Quiet()
        )
        self.pages.listen("127.0.0.1:0")
        self.running = asyncio.create_task(self.router.run())

    async def get(self, target: str, **headers: str) -> tuple[int, dict[str, str], str]:
        """Ask for a page."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        async with get("127.0.0.1", self.pages.port, target, fields) as answer:
            return answer.status, dict(answer.headers), (await answer.read(2**24)).decode()

    async def close(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        await self.registry.drain(0)
        await self.pages.drain(0)
        await self.mirror.aclose()


@contextlib.asynccontextmanager
async def cluster(tmp_path: Path, image: TestImage, **offer: bool) -> AsyncIterator[tuple[Node, Node]]:
    """Two nodes; the second has an image and the first has not."""
    hub = Hub()
    empty = Node(hub, "node-1", layout(tmp_path / "1", {}), **offer)
    full = Node(hub, "node-2", layout(tmp_path / "2", {NAME: image}), **offer)
    await asyncio.sleep(0)
    await full.router.advertise([NAME, *image.blobs])
    try:
        yield empty, full
    finally:
        await empty.close()
        await full.close()


async def test_figures_are_in_prometheus_text_format(tmp_path: Path) -> None:
    async with cluster(tmp_path, make_image(1)) as (node, _):
        status, headers, body = await node.get("/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'spegel_build_info{version="1"} 1.0' in body


async def test_the_page_on_the_node(tmp_path: Path) -> None:
    image = make_image(1)
    async with cluster(tmp_path, image) as (empty, full):
        status, headers, body = await full.get("/debug/web/")
        assert "None." in (await empty.get("/debug/web/"))[2]
    assert status == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert NAME in body
    assert image.index in body
    assert f"{sum(map(len, image.blobs.values())) / 1024:.1f}\u00a0KiB" in body
    assert "node-1" in body


async def test_the_pages_parts_are_served_by_the_node(tmp_path: Path) -> None:
    async with cluster(tmp_path, make_image(1)) as (node, _):
        assert (await node.get("/debug/web"))[1]["location"] == "/debug/web/"
        assert (await node.get("/debug/web/page.css"))[1]["content-type"] == "text/css; charset=utf-8"
        assert (await node.get("/debug/web/page.js"))[1]["content-type"] == "text/javascript; charset=utf-8"
        assert (await node.get("/debug/web/metadata"))[2] == '{"libp2p": {"id": "node-1"}}'
        assert (await node.get("/debug/web/../secret"))[0] in {400, 404}


async def test_a_measurement_tells_what_came_from_whom(tmp_path: Path) -> None:
    image = make_image(1, layers=3, size=300_000)
    async with cluster(tmp_path, image) as (empty, full):
        remote = await empty.get("/debug/web/measure?image=app:1")
        local = await full.get("/debug/web/measure?image=docker.io/library/app:1")
        history = (await empty.get("/debug/web/"))[2]
    for status, _, body in (remote, local):
        assert status == 200
        for digest in (image.manifest, image.config, *image.layers):
            assert digest in body
        assert "problem" not in body
    assert history.count('<span class="outcome hit">hit</span>') == 6
    assert f"docker.io/library/app@{image.layers[2]}</code> GET blob" in history
    assert remote[2].count('data-label="From"><div><code>node-2<') == 6
    assert local[2].count('data-label="From"><div><code>this node<') == 6


async def test_what_nobody_has_is_no_failure_of_the_page(tmp_path: Path) -> None:
    async with cluster(tmp_path, make_image(1)) as (node, _):
        status, _, body = await node.get("/debug/web/measure?image=unknown")
    assert status == 200
    assert "latest: the registry answers 404" in body


@pytest.mark.parametrize("image", ["", "a%20b", "%3Cscript%3E", "UPPER", "a" * 300])
async def test_what_is_no_image_is_refused_and_not_repeated_as_markup(tmp_path: Path, image: str) -> None:
    async with cluster(tmp_path, make_image(1)) as (node, _):
        status, _, body = await node.get(f"/debug/web/measure?image={image}")
    assert status == 400
    assert "no image&#x27;s name" in body
    assert "<script>" not in body


async def test_another_sites_page_cannot_start_a_measurement(tmp_path: Path) -> None:
    async with cluster(tmp_path, make_image(1)) as (node, _):
        assert (await node.get("/debug/web/measure?image=app:1", sec_fetch_site="cross-site"))[0] == 403
        assert (await node.get("/debug/web/measure?image=app:1", sec_fetch_site="same-origin"))[0] == 200


async def test_one_measurement_at_a_time(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def wait(_: Request) -> Response:
        await release.wait()
        return Response(HTTPStatus.NOT_FOUND)

    async with cluster(tmp_path, make_image(1)) as (node, _):
        slow = Server(wait, Quiet())
        slow.listen("127.0.0.1:0")
        meter = Meter(node.router, node.mirror.history, ("127.0.0.1", slow.port), None)
        first = asyncio.create_task(meter.measure("app:1"))
        while not slow.connections:
            await asyncio.sleep(0.001)
        with pytest.raises(Exception, match="under way"):
            await meter.measure("app:1")
        release.set()
        assert (await first).problem == "1: the registry answers 404"
        assert (await meter.measure("app:1")).problem
        await slow.drain(0)


async def test_an_unreadable_store_is_said_on_the_page(tmp_path: Path) -> None:
    async with cluster(tmp_path, make_image(1)) as (node, _):
        (tmp_path / "1").rename(tmp_path / "gone")
        status, _, body = await node.get("/debug/web/")
    assert status == 200
    assert "The store cannot be read" in body


async def test_the_catalogue_leaves_out_what_is_filtered_and_counts_only_what_is_there(
    tmp_path: Path,
) -> None:
    images = {NAME: make_image(1), "quay.io/other/app:2": make_image(2), "nameless": make_image(3)}
    store = layout(tmp_path / "store", images)
    gone = images[NAME].layers[0]
    (tmp_path / "store" / "blobs" / gone.replace(":", "/")).unlink()
    catalogue = await read_catalogue(store, parse_filters([], ["quay"]))
    assert [row.name for row in catalogue.rows] == [NAME]
    assert catalogue.rows[0].size == sum(map(len, images[NAME].blobs.values())) - len(
        images[NAME].blobs[gone]
    )
    with pytest.raises(StoreError):
        await read_catalogue(LayoutStore(tmp_path / "nowhere"), Filters())


async def test_the_debug_pages_can_be_left_out(tmp_path: Path) -> None:
    async with cluster(tmp_path, make_image(1), web=False) as (node, _):
        for path in ("/debug/web/", "/debug/web/page.js", "/debug/profile/stacks", "/debug/profile/sample"):
            assert (await node.get(path))[0] == 404
        assert (await node.get("/metrics"))[0] == 200


async def test_profiles_show_tasks_and_where_time_goes(tmp_path: Path) -> None:
    async def waits_for_ever() -> None:
        await asyncio.Event().wait()

    async with cluster(tmp_path, make_image(1), profiling=True) as (node, _):
        task = asyncio.create_task(waits_for_ever(), name="sleeper")
        await asyncio.sleep(0)
        stacks = (await node.get("/debug/profile/stacks"))[2]
        profile = await node.get("/debug/profile/sample?seconds=0.05")
        for seconds in ("0", "51", "-1", "nan", "inf", "x"):
            assert (await node.get(f"/debug/profile/sample?seconds={seconds}"))[0] == 400
        task.cancel()
    sleeper = stacks.partition("task sleeper\n")[2].partition("\n\n")[0]
    assert "in waits_for_ever" in sleeper
    assert "locks.py" in sleeper  # what it awaits is shown too
    assert "thread MainThread" in stacks
    assert profile[0] == 200
    stack, _, count = profile[2].splitlines()[0].rpartition(" ")
    assert ";" in stack
    assert int(count) > 0


def test_a_sample_names_the_outermost_call_first() -> None:
    import threading

    ready, stop = threading.Event(), threading.Event()

    def inner() -> None:
        ready.set()
        stop.wait(20)

    thread = threading.Thread(target=inner)
    thread.start()
    ready.wait(20)
    try:
        folded = sample(0.02, 0.001)
    finally:
        stop.set()
        thread.join(20)
    (line,) = [line for line in folded.splitlines() if "inner" in line]
    assert line.index("Thread._bootstrap;") < line.index("inner;") < line.index("Event.wait")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("alpine", "docker.io/library/alpine:latest"),
        ("alpine:3", "docker.io/library/alpine:3"),
        ("grafana/grafana", "docker.io/grafana/grafana:latest"),
        ("docker.io/alpine", "docker.io/library/alpine:latest"),
        (" quay.io/a/b:c ", "quay.io/a/b:c"),
        ("localhost:5000/a", "localhost:5000/a:latest"),
    ],
)
def test_short_names_are_completed_as_docker_does(text: str, name: str) -> None:
    assert complete(text).tag_name == name


def test_a_name_by_digest_stays_one() -> None:
    digest = "sha256:" + "0" * 64
    assert complete(f"alpine@{digest}").digest == digest
    with pytest.raises(InvalidReferenceError):
        complete("alpine@sha256:short")
