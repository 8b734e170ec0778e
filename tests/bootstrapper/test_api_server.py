"""Following an API server: lists in pages, watches, and everything that goes wrong with them.

KUBECONFIG_TEST names a real API server for the tests that do not break theirs.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

from bootstrapper.answers import MAX_LIMIT, Answers, select
from bootstrapper.roster import Roster
from bootstrapper.sources.api_server import ApiServer as Source
from bootstrapper.sources.base import SourceError
from tests.apiserver import ApiServer
from tests.bootstrapper.nodes import node

PATIENCE = 20.0


class _Stop(BaseException):
    """Ends a thread that is meant to go on for ever."""


class Follower:
    """A source that is followed in a thread, while entered."""

    def __init__(self, kubeconfig: Path) -> None:
        self.source = Source(kubeconfig, timeout_seconds=5, directory=kubeconfig.parent)
        self.roster = Roster()
        self.failures: list[SourceError] = []
        self.heard_at = 0.0
        self._stopping = False
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def heard(self) -> None:
        self.heard_at = time.monotonic()
        self._stop_if_told()

    def failed(self, error: SourceError) -> None:
        self.failures.append(error)
        self._stop_if_told()

    @property
    def reasons(self) -> list[str]:
        return [error.reason for error in self.failures]

    def addresses(self) -> set[str]:
        return {address for one in self.roster.take(0) for address in one.addresses}

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, self.failures
            time.sleep(0.01)

    def __enter__(self) -> Follower:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True  # it looks up at the next word of the server

    def _follow(self) -> None:
        with contextlib.suppress(_Stop):
            self.source.follow(self.roster, self)

    def _stop_if_told(self) -> None:
        if self._stopping:
            raise _Stop


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer(node("a", "10.0.0.1"), node("b", "10.0.0.2")) as api:
        yield api


@pytest.fixture
def follower(api: ApiServer, tmp_path: Path) -> Iterator[Follower]:
    with Follower(api.write_kubeconfig(tmp_path / "kubeconfig")) as follower:
        follower.wait_until(lambda: api.watches == 1)
        assert follower.addresses() == {"10.0.0.1", "10.0.0.2"}
        yield follower


def change(api: ApiServer, name: str, *addresses: str) -> None:
    resource = api.resources.of(node(name))
    api.store.change(
        resource, None, name, lambda _: {"status": node(name, *addresses)["status"]}, status=True
    )


def delete(api: ApiServer, name: str) -> None:
    api.store.delete(api.resources.of(node(name)), None, name)


def test_changes_arrive(api: ApiServer, follower: Follower) -> None:
    api.create(node("c", "10.0.0.3"))
    follower.wait_until(lambda: "10.0.0.3" in follower.addresses())
    change(api, "c", "10.0.0.4")
    follower.wait_until(lambda: follower.addresses() == {"10.0.0.1", "10.0.0.2", "10.0.0.4"})
    delete(api, "a")
    follower.wait_until(lambda: follower.addresses() == {"10.0.0.2", "10.0.0.4"})
    assert follower.failures == []
    assert api.count() == {"list": 1, "watch": 1}
    assert api.requests[1].query["allowWatchBookmarks"] == "true"


def test_a_list_comes_in_pages(tmp_path: Path) -> None:
    things = [node(f"n{number}", f"10.1.{number // 100}.{number % 100 + 1}") for number in range(250)]
    with ApiServer(*things) as api:
        source = Source(api.write_kubeconfig(tmp_path / "kubeconfig"), timeout_seconds=5, directory=tmp_path)
        roster = Roster()
        source.read(roster)
        assert len(roster.take(0)) == 250
        assert [request.query["limit"] for request in api.requests] == ["100"] * 3
        assert len(Answers(select(roster.take(0), 0, 0)).nodes(MAX_LIMIT).body) > 1000


def test_a_broken_connection_goes_on_where_it_was(api: ApiServer, follower: Follower) -> None:
    change(api, "a", "10.0.0.9")
    follower.wait_until(lambda: "10.0.0.9" in follower.addresses())
    api.break_watches()
    delete(api, "b")
    follower.wait_until(lambda: follower.addresses() == {"10.0.0.9"})
    assert api.count()["list"] == 1, "nothing was missed, so nothing has to be listed"
    assert set(follower.reasons) == {"disconnected"}


def test_a_bookmark_moves_the_resource_version_on(api: ApiServer, follower: Follower) -> None:
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}})
    heard = follower.heard_at
    api.bookmark()
    follower.wait_until(lambda: follower.heard_at > heard)
    api.break_watches()
    follower.wait_until(lambda: api.count()["watch"] == 2)
    assert api.requests[-1].query["resourceVersion"] == str(api.store.version)


def test_an_expired_watch_lists_again(api: ApiServer, follower: Follower) -> None:
    api.break_watches()
    delete(api, "a")
    api.expire()
    follower.wait_until(lambda: follower.addresses() == {"10.0.0.2"})
    assert "expired" in follower.reasons
    assert api.count()["list"] == 2


def test_a_watch_that_is_refused_as_expired_lists_again(api: ApiServer, follower: Follower) -> None:
    api.fail("watch", "nodes", 410)
    api.break_watches()
    follower.wait_until(lambda: api.count()["list"] == 2 and api.watches == 1)
    assert "expired" in follower.reasons


def test_a_list_that_expires_midway_begins_anew(tmp_path: Path) -> None:
    things = [node(f"n{number:03}", f"10.1.0.{number + 1}") for number in range(150)]
    with ApiServer(*things) as api, Follower(api.write_kubeconfig(tmp_path / "kubeconfig")) as follower:
        api.fail("list", "nodes", 410)
        follower.wait_until(lambda: len(follower.addresses()) == 150 and api.watches == 1)
        api.expire()
        follower.wait_until(lambda: api.count()["watch"] == 2)
        assert len(follower.addresses()) == 150


@pytest.mark.parametrize(
    "data", [b"nonsense\n", b'{"type": "ADDED", "object": 1}\n', b"[" * 100_000 + b"\n", b"\xff\xfe\n"]
)
def test_a_stream_of_nonsense_is_left(api: ApiServer, follower: Follower, data: bytes) -> None:
    api.spoil_watches(data)
    follower.wait_until(lambda: api.count()["watch"] == 2)
    assert follower.reasons == ["protocol"]
    assert follower.addresses() == {"10.0.0.1", "10.0.0.2"}


def test_an_event_that_breaks_off_is_read_again(api: ApiServer, follower: Follower) -> None:
    api.spoil_watches(b'{"type": "DELETED", "object": {"metadata": {"na')
    api.break_watches()
    change(api, "a", "10.0.0.9")
    follower.wait_until(lambda: follower.addresses() == {"10.0.0.9", "10.0.0.2"})


def test_an_api_server_that_restarts(api: ApiServer, follower: Follower) -> None:
    api.stop()
    follower.wait_until(lambda: len(follower.failures) >= 3)
    assert follower.addresses() == {"10.0.0.1", "10.0.0.2"}, "what was known last stays"
    delete(api, "a")
    api.start()
    follower.wait_until(lambda: follower.addresses() == {"10.0.0.2"})


def test_an_api_server_whose_resource_versions_went_back(api: ApiServer, follower: Follower) -> None:
    api.fail("watch", "nodes", 504)  # so it answers a resource version of the future
    api.break_watches()
    follower.wait_until(lambda: api.count()["list"] == 2)


@pytest.mark.parametrize("status", [0, 401, 403, 429, 500, 503])
def test_refused_requests_are_made_again(api: ApiServer, follower: Follower, status: int) -> None:
    api.fail("watch", "nodes", status, times=2)
    api.break_watches()
    api.create(node("c", "10.0.0.3"))
    follower.wait_until(lambda: "10.0.0.3" in follower.addresses())
    assert api.count() == {"list": 1, "watch": 4}


def test_a_renewed_token_is_used(api: ApiServer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one")
    api.tokens = {"one"}
    with Follower(api.write_kubeconfig(tmp_path / "kubeconfig", tokenFile="token")) as follower:
        follower.wait_until(lambda: api.watches == 1)
        api.tokens = {"two"}
        api.break_watches()
        follower.wait_until(lambda: "unauthorized" in follower.reasons)
        token.write_text("two")
        api.create(node("c", "10.0.0.3"))
        follower.wait_until(lambda: "10.0.0.3" in follower.addresses())
    assert {request.token for request in api.requests} == {"one", "two"}


def test_a_configuration_that_is_gone_for_a_while(api: ApiServer, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    with Follower(path) as follower:
        follower.wait_until(lambda: len(follower.failures) >= 2)
        path.write_text("{")
        follower.wait_until(lambda: len(follower.failures) >= 4)
        api.write_kubeconfig(path)
        follower.wait_until(lambda: len(follower.addresses()) == 2)
    assert set(follower.reasons) == {"configuration"}


@pytest.mark.parametrize("body", [{"kind": "NodeList"}, {"items": [], "metadata": 1}])
def test_a_list_that_is_none(
    api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: Any
) -> None:
    source = Source(api.write_kubeconfig(tmp_path / "kubeconfig"), timeout_seconds=5, directory=tmp_path)
    monkeypatch.setattr("tests.apiserver.handler.Handler._list", lambda *_: (200, body))
    with pytest.raises(SourceError, match="the list of nodes is none"):
        source.read(Roster())


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Path]:
    if given := os.environ.get("KUBECONFIG_TEST"):
        yield Path(given)
    else:
        with ApiServer() as api:
            yield api.write_kubeconfig(tmp_path / "kubeconfig")


def test_with_the_official_client_on_the_other_side(cluster: Path) -> None:
    settings = client.Configuration()
    config.load_kube_config(str(cluster), client_configuration=settings)
    name = f"test-{uuid.uuid4().hex[:10]}"
    with Follower(cluster) as follower, client.ApiClient(settings) as api:
        core = client.CoreV1Api(api)
        core.create_node(node(name, "10.99.0.1", zone="z"))
        try:
            follower.wait_until(lambda: "10.99.0.1" in follower.addresses())
            core.patch_node_status(
                name,
                {
                    "status": {
                        "conditions": [{"type": "Ready", "status": "False", "reason": "x", "message": "x"}]
                    }
                },
            )
            follower.wait_until(
                lambda: any(
                    one.name == name and one.unready_since is not None for one in follower.roster.take(0)
                )
            )
        finally:
            core.delete_node(name)
        follower.wait_until(lambda: "10.99.0.1" not in follower.addresses())
