"""The two applications, asked without a network."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from bootstrapper.answers import MAX_LIMIT, Selection, entry
from bootstrapper.publication import Publication
from bootstrapper.server.apps import nodes_app, probes_app

ENTRIES = tuple(entry([f"10.0.{number // 200}.{number % 200 + 1}"]) for number in range(MAX_LIMIT))


@pytest.fixture
def publication(tmp_path: Path) -> Publication:
    return Publication(tmp_path)


@pytest.fixture
def nodes(publication: Publication) -> FlaskClient:
    publication.write(Selection(ENTRIES, '{"10.0.0.1":"z"}', {"ready": 100}))
    return nodes_app(publication, 10, lambda _: True).test_client()


def body(count: int) -> bytes:
    return f"[{','.join(ENTRIES[:count])}]".encode()


def test_ten_nodes_unless_the_client_says_otherwise(nodes: FlaskClient) -> None:
    answer = nodes.get("/bootstrap-nodes")
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert answer.data == body(10)
    assert nodes.get("/bootstrap-nodes?limit=3").data == body(3)
    assert nodes.get(f"/bootstrap-nodes?limit={MAX_LIMIT}").data == body(MAX_LIMIT)
    assert nodes.get("/bootstrap-nodes?other=1").data == body(10)


@pytest.mark.parametrize(
    "query",
    [
        "limit=",
        "limit=0",
        "limit=-1",
        "limit=101",
        "limit=1e2",
        "limit=x",
        "limit=%C2%B2",
        "limit=1&limit=2",
        "limit=" + "9" * 5000,
    ],
)
def test_a_limit_that_is_none_is_refused(nodes: FlaskClient, query: str) -> None:
    answer = nodes.get(f"/bootstrap-nodes?{query}")
    assert (answer.status_code, answer.data) == (400, b"limit must be one number from 1 to 100\n")


@pytest.mark.parametrize("path", ["/bootstrap-nodes", "/bootstrap-nodes?limit=2", "/topology"])
def test_who_has_the_answer_already_does_not_get_it_again(nodes: FlaskClient, path: str) -> None:
    answer = nodes.get(path)
    etag = answer.headers["ETag"]
    assert etag.startswith('"')
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = nodes.get(path, headers={"If-None-Match": known})
        assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", etag), known
    assert nodes.get(path, headers={"If-None-Match": '"other"'}).data == answer.data
    assert nodes.head(path).headers["ETag"] == etag


def test_a_change_of_the_nodes_changes_the_etag(nodes: FlaskClient, publication: Publication) -> None:
    etag = nodes.get("/bootstrap-nodes").headers["ETag"]
    publication.write(Selection(ENTRIES[1:], "{}", {}))
    answer = nodes.get("/bootstrap-nodes", headers={"If-None-Match": etag})
    assert answer.status_code == 200
    assert answer.headers["ETag"] != etag


def test_no_nodes_are_an_answer_but_unknown_ones_are_none(publication: Publication) -> None:
    client = nodes_app(publication, 10, lambda _: True).test_client()
    probes = probes_app(publication, lambda: None).test_client()
    for waiting in (client.get("/bootstrap-nodes"), client.get("/topology"), probes.get("/readyz")):
        assert (waiting.status_code, waiting.headers["Retry-After"]) == (503, "1")
        assert waiting.data == b"the nodes have not been read yet\n"
    assert probes.get("/healthz").data == b"ok\n"
    assert b"answer_age_seconds" not in probes.get("/metrics").data
    publication.write(Selection((), "{}", {"ready": 0}))
    publication.heard()
    assert client.get("/bootstrap-nodes").data == b"[]"
    assert probes.get("/readyz").data == b"ok\n"
    figures = probes.get("/metrics").data
    assert b"registry_spegel_bootstrapper_answer_age_seconds 0." in figures
    assert b'registry_spegel_bootstrapper_nodes{rank="ready"} 0.0' in figures


def test_nothing_else_is_there(nodes: FlaskClient) -> None:
    for path in ("/", "/metrics", "/readyz", "/bootstrap-nodes/"):
        assert nodes.get(path).status_code == 404
    assert nodes.post("/bootstrap-nodes").status_code == 405


def test_who_comes_too_often_is_told_so(publication: Publication) -> None:
    publication.write(Selection((), "{}", {}))
    seen: list[str] = []

    def admit(address: str) -> bool:
        seen.append(address)
        return False

    client = nodes_app(publication, 10, admit).test_client()
    answer = client.get("/bootstrap-nodes")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
    assert seen == ["127.0.0.1"]
