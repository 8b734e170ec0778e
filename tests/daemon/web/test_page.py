"""The pages as text; how they look and work in a browser is tested in test_browser.py."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.mirror.history import Outcome, Record
from daemon.web import text
from daemon.web.html import element, join
from daemon.web.measurement import Lookup, Measurement, Pull
from daemon.web.page import ImageRow, Node, Overview, measurement_page, overview_page
from tests.daemon.web.hostile import ELEMENTS, Outline

DIGEST = "sha256:" + "a" * 64
NOW = 1_800_000_000.0


def record(**changes: object) -> Record:
    values: dict[str, object] = {
        "time": NOW - 5,
        "method": "GET",
        "kind": "manifest",
        "registry": "docker.io",
        "name": "library/alpine",
        "reference": "3.20",
        "outcome": Outcome.HIT,
        "peers": ("peer-1", "peer-2"),
        "tried": 2,
        "bytes": 2048,
        "seconds": 0.0125,
    }
    return Record(**{**values, **changes})  # type: ignore[arg-type]


def overview(**changes: object) -> Overview:
    values: dict[str, object] = {
        "version": "1.2.3",
        "host": "machine-1",
        "me": Node("node-1", ("/ip4/10.0.0.1/tcp/5001",)),
        "store": "containerd, namespace k8s.io",
        "ready": True,
        "now": NOW,
        "uptime": 7200.0,
        "last_success": NOW - 30,
        "peers": [Node("node-2", ("10.0.0.2", "fd00::2"))],
        "images": [ImageRow("docker.io/library/alpine:3.20", DIGEST, 3_500_000)],
        "image_count": 1,
        "store_error": None,
        "requests": [record()],
    }
    return Overview(**{**values, **changes})  # type: ignore[arg-type]


def shown(page: str) -> str:
    return Outline(page).text.replace("\u00a0", " ")


def test_the_node_its_peers_its_images_and_the_last_requests_are_shown() -> None:
    page = shown(overview_page(overview()))
    for expected in [
        "machine-1", "node-1", "/ip4/10.0.0.1/tcp/5001", "Readyyes", "30.0 s ago", "1.2.3", "2 h",
        "2027-01-15 08:00:00 UTC",
        "Peers (1)", "node-2", "10.0.0.2, fd00::2",
        "Images (1)", "docker.io/library/alpine:3.20", DIGEST, "3.3 MiB",
        "5.0 s ago", "GET manifest", "hit", "peer-1, peer-2", "2.0 KiB", "12.5 ms",
    ]:  # fmt: skip
        assert expected in page


def test_a_node_that_is_alone_and_empty_says_so() -> None:
    page = shown(
        overview_page(
            overview(ready=False, last_success=None, peers=[], images=[], image_count=0, requests=[])
        )
    )
    for expected in ["no: it knows no other node yet", "none yet", "this node is alone", "None yet."]:
        assert expected in page


def test_a_store_that_cannot_be_read_does_not_hide_the_rest() -> None:
    page = shown(overview_page(overview(store_error="containerd cannot be reached", images=[])))
    assert "The store cannot be read: containerd cannot be reached" in page
    assert "node-2" in page


def test_requests_by_digest_and_misses() -> None:
    requests = [record(reference=DIGEST, registry="", kind="blob"), record(outcome=Outcome.MISS, peers=())]
    page = shown(overview_page(overview(requests=requests)))
    assert f"library/alpine@{DIGEST}" in page
    assert "nobody, 2 asked" in page


def test_long_tables_end_with_the_number_of_rows_left_out() -> None:
    peers = [Node(f"node-{number}", ()) for number in range(203)]
    page = shown(overview_page(overview(peers=peers, image_count=1001)))
    assert "3 more are not shown." in page
    assert "1000 more are not shown." in page


def test_a_measurement_lists_peers_and_content_and_adds_up() -> None:
    result = Measurement(
        (Lookup("node-2", ("10.0.0.2",), 0.002),),
        (
            Pull("3.20", "application/vnd.oci.image.index.v1+json", 1024, 0.004, "this node"),
            Pull(DIGEST, "application/octet-stream", 10 * 2**20, 0.096, "node-2"),
        ),
        None,
    )
    page = shown(measurement_page("alpine:3.20", result))
    for expected in ["node-2", "2.0 ms", "10.0 MiB", "104.2 MiB/s", "this node", "10.0 MiB in 100.0 ms"]:
        assert expected in page


def test_a_measurement_that_stopped_keeps_what_it_has() -> None:
    pulls = (Pull("3.20", "application/json", 10, 0.1, "this node"),)
    page = shown(measurement_page("alpine", Measurement((), pulls, "stopped after 50 s")))
    assert "stopped after 50 s" in page
    assert "10 B" in page


def test_no_page_names_another_host_or_holds_inline_code() -> None:
    for page in (overview_page(overview()), measurement_page("alpine", "no such image")):
        outline = Outline(page)
        links = [value for name, value in outline.attributes if name in {"href", "src", "action"}]
        assert all(link.startswith("/debug/web/") or link == "data:," for link in links)
        assert not [name for name, _ in outline.attributes if name.startswith("on") or name == "style"]
        assert re.search(r"<script[^>]* src=[^>]*></script>", page)
        assert page.count("<script") == 1
        assert "<style" not in page


_texts = st.text(min_size=1) | st.sampled_from(
    ["<script>alert(1)</script>", "\"><img src=x onerror='x'>", "&lt;", "<!--"]
)


@given(_texts, _texts, _texts)
def test_nothing_that_comes_from_outside_becomes_markup(one: str, two: str, three: str) -> None:
    pages = [
        overview_page(
            overview(
                host=one,
                me=Node(one, (two,)),
                peers=[Node(one, (two, three))],
                images=[ImageRow(one, two, 1)],
                requests=[record(registry=one, name=two, reference=three, peers=(one,), method=two)],
                store=three,
            )
        ),
        overview_page(overview(store_error=one)),
        measurement_page(one, two),
        measurement_page(one, Measurement((Lookup(one, (two,), 1),), (Pull(two, three, 1, 1, one),), three)),
    ]
    for page in pages:
        outline = Outline(page)
        assert set(outline.elements) <= ELEMENTS
        assert outline.elements.count("script") == 1
        assert not [name for name, _ in outline.attributes if name.startswith("on")]


@given(st.text(), st.text())
def test_elements_escape_text_and_attributes_but_not_each_other(content: str, value: str) -> None:
    outline = Outline(element("p", element("code", content), title=value))
    assert outline.elements == ["p", "code"]
    assert join(content).count("<") == 0
    assert '"' not in element("p", title=value).removeprefix('<p title="').removesuffix('"></p>')


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (5 * 1024**3, "5.0 GiB"),
        (5000 * 1024**4, "5000.0 TiB"),
    ],
)
def test_sizes(count: int, expected: str) -> None:
    assert text.size(count).replace("\u00a0", " ") == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0.0 ms"), (0.0004, "0.4 ms"), (12.5, "12.5 s"), (180, "3 min"), (18000, "5 h"), (200000, "2 d")],
)
def test_durations(seconds: float, expected: str) -> None:
    assert text.duration(seconds).replace("\u00a0", " ") == expected
