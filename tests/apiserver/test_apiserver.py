"""The API server of the tests behaves as a real one where the tests rely on it.

With KUBECONFIG_TEST the same tests ask a real API server, so that the imitation can be held against it.
"""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

from tests.apiserver import ApiServer

NODES = "/api/v1/nodes"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PATIENCE = 20


class Api:
    """The official client, with plain JSON."""

    def __init__(self, kubeconfig: Path) -> None:
        settings = client.Configuration()
        config.load_kube_config(str(kubeconfig), client_configuration=settings)
        settings.retries = False
        self._client = client.ApiClient(settings)

    def ask(self, method: str, path: str, body: Any = None, kind: str = "json", **query: Any) -> Any:
        status, answer = self.stream(method, path, body, kind, **query)
        return status, json.loads(answer.read())

    def stream(self, method: str, path: str, body: Any = None, kind: str = "json", **query: Any) -> Any:
        request = self._client.param_serialize(
            method,
            path,
            body=body,
            query_params=list(query.items()),
            header_params={"Content-Type": f"application/{kind}", "Accept": "application/json"},
            auth_settings=["BearerToken"],
        )
        answer = self._client.call_api(*request, _request_timeout=PATIENCE).response
        return answer.status, answer

    def close(self) -> None:
        self._client.rest_client.pool_manager.clear()


@pytest.fixture
def server() -> Iterator[ApiServer | None]:
    if "KUBECONFIG_TEST" in os.environ:
        yield None
    else:
        with ApiServer() as server:
            yield server


@pytest.fixture
def api(server: ApiServer | None, tmp_path: Path) -> Iterator[Api]:
    given = os.environ.get("KUBECONFIG_TEST")
    path = server.write_kubeconfig(tmp_path / "kubeconfig") if server else Path(str(given))
    api = Api(path)
    yield api
    api.ask("DELETE", CONFIG_MAPS, labelSelector="test=apiserver")
    api.ask("DELETE", NODES, labelSelector="test=apiserver")
    api.close()


def config_map(name: str, **data: str) -> dict[str, Any]:
    metadata = {"name": name, "labels": {"test": "apiserver"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def unique() -> str:
    return f"test-{uuid.uuid4().hex[:10]}"


def test_an_object_from_beginning_to_end(api: Api) -> None:
    name = unique()
    status, created = api.ask("POST", CONFIG_MAPS, config_map(name, a="1"))
    assert status == 201
    assert created["metadata"]["uid"]
    assert api.ask("POST", CONFIG_MAPS, config_map(name))[1]["reason"] == "AlreadyExists"
    assert api.ask("GET", f"{CONFIG_MAPS}/{name}")[1]["data"] == {"a": "1"}
    status, patched = api.ask(
        "PATCH", f"{CONFIG_MAPS}/{name}", {"data": {"a": None, "b": "2"}}, "merge-patch+json"
    )
    assert (status, patched["data"]) == (200, {"b": "2"})
    assert patched["metadata"]["resourceVersion"] != created["metadata"]["resourceVersion"]
    status, stale = api.ask("PUT", f"{CONFIG_MAPS}/{name}", created)
    assert (status, stale["reason"]) == (409, "Conflict")
    assert api.ask("DELETE", f"{CONFIG_MAPS}/{name}")[0] == 200
    assert api.ask("GET", f"{CONFIG_MAPS}/{name}")[0] == 404


def test_finalizers_hold_an_object(api: Api) -> None:
    name = unique()
    thing = config_map(name)
    thing["metadata"]["finalizers"] = ["example.com/test"]
    api.ask("POST", CONFIG_MAPS, thing)
    api.ask("DELETE", f"{CONFIG_MAPS}/{name}")
    assert api.ask("GET", f"{CONFIG_MAPS}/{name}")[1]["metadata"]["deletionTimestamp"]
    api.ask("PATCH", f"{CONFIG_MAPS}/{name}", {"metadata": {"finalizers": None}}, "merge-patch+json")
    assert api.ask("GET", f"{CONFIG_MAPS}/{name}")[0] == 404


def test_the_status_is_apart(api: Api) -> None:
    path = f"{NODES}/{unique()}"
    name = path.rpartition("/")[2]
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"test": "apiserver"}}}
    api.ask("POST", NODES, node)
    addresses = {"status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}}
    _, ignored = api.ask("PATCH", path, addresses, "merge-patch+json")
    assert "addresses" not in ignored.get("status", {})
    _, written = api.ask("PATCH", f"{path}/status", addresses, "merge-patch+json")
    assert written["status"]["addresses"] == addresses["status"]["addresses"]
    _, patched = api.ask(
        "PATCH", path, [{"op": "add", "path": "/metadata/labels/x", "value": "y"}], "json-patch+json"
    )
    assert patched["metadata"]["labels"]["x"] == "y"
    assert patched["status"]["addresses"] == addresses["status"]["addresses"]


def test_apply_knows_who_owns_what(api: Api) -> None:
    path = f"{CONFIG_MAPS}/{unique()}"
    name = path.rpartition("/")[2]

    def apply(manager: str, force: str = "false", **data: str) -> tuple[int, Any]:
        return api.ask(  # type: ignore[no-any-return]  # as the client answers
            "PATCH", path, config_map(name, **data), "apply-patch+yaml", fieldManager=manager, force=force
        )

    assert apply("one", a="1", b="1")[0] == 201
    assert apply("two", b="1", c="1")[1]["data"] == {"a": "1", "b": "1", "c": "1"}
    status, conflict = apply("two", b="2")
    assert (status, conflict["reason"]) == (409, "Conflict")
    assert apply("one", b="1")[1]["data"] == {"b": "1", "c": "1"}, "a was of the first alone"
    assert apply("two", "true", b="2")[1]["data"] == {"b": "2"}, "c was of the second alone"
    before = api.ask("GET", path)[1]["metadata"]["resourceVersion"]
    assert apply("two", b="2")[1]["metadata"]["resourceVersion"] == before, "nothing has changed"


def test_lists_come_in_pages_and_by_selector(api: Api) -> None:
    label = unique()
    names = sorted(unique() for _ in range(5))
    for name in names:
        thing = config_map(name)
        thing["metadata"]["labels"]["batch"] = label
        api.ask("POST", CONFIG_MAPS, thing)
    seen: list[str] = []
    query = {"limit": 2, "labelSelector": f"batch={label}"}
    versions = set()
    while True:
        _, page = api.ask("GET", CONFIG_MAPS, **query)
        seen += [item["metadata"]["name"] for item in page["items"]]
        versions.add(page["metadata"]["resourceVersion"])
        if len(seen) == 2:
            api.ask("DELETE", f"{CONFIG_MAPS}/{names[-1]}")  # the list stays as it began
        if not page["metadata"].get("continue"):
            break
        query["continue"] = page["metadata"]["continue"]
    assert seen == names
    assert len(versions) == 1
    assert "kind" not in page["items"][0]
    assert api.ask("GET", CONFIG_MAPS, labelSelector=f"batch notin ({label}),test")[1]["items"] == []
    assert len(api.ask("GET", CONFIG_MAPS, fieldSelector=f"metadata.name={names[0]}")[1]["items"]) == 1


def test_a_watch_goes_on_where_a_list_ended(api: Api) -> None:
    label = unique()
    _, listed = api.ask("GET", CONFIG_MAPS, labelSelector=f"batch={label}")
    events: list[tuple[str, str]] = []

    def watch() -> None:
        _, stream = api.stream(
            "GET",
            CONFIG_MAPS,
            watch="true",
            labelSelector=f"batch={label}",
            resourceVersion=listed["metadata"]["resourceVersion"],
            timeoutSeconds=PATIENCE,
        )
        for line in stream:
            event = json.loads(line)
            events.append((event["type"], event["object"]["metadata"]["name"]))
            if len(events) == 4:
                break
        stream.close()

    watcher = threading.Thread(target=watch)
    watcher.start()
    name = unique()
    path = f"{CONFIG_MAPS}/{name}"
    thing = config_map(name)
    thing["metadata"]["labels"]["batch"] = label
    api.ask("POST", CONFIG_MAPS, thing)
    api.ask("PATCH", path, {"data": {"x": "y"}}, "merge-patch+json")
    api.ask("PATCH", path, {"metadata": {"labels": {"batch": None}}}, "merge-patch+json")
    api.ask("PATCH", path, {"metadata": {"labels": {"batch": label}}}, "merge-patch+json")
    watcher.join(PATIENCE)
    assert events == [(kind, name) for kind in ("ADDED", "MODIFIED", "DELETED", "ADDED")]


def test_what_is_too_old_is_gone(api: Api, server: ApiServer | None) -> None:
    if server is None:
        pytest.skip("a real API server does not forget when it is told to")
    old = server.store.version
    for _ in range(3):
        api.ask("POST", CONFIG_MAPS, config_map(unique()))
    _, page = api.ask("GET", CONFIG_MAPS, limit=1)
    server.expire()
    status, answer = api.ask("GET", CONFIG_MAPS, limit=1, **{"continue": page["metadata"]["continue"]})
    assert (status, answer["reason"]) == (410, "Expired")
    _, stream = api.stream("GET", CONFIG_MAPS, watch="true", resourceVersion=old)
    event = json.loads(next(iter(stream)))
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
    stream.close()


def test_discovery_names_the_resources(api: Api) -> None:
    assert "v1" in api.ask("GET", "/api")[1]["versions"]
    assert "apps" in {group["name"] for group in api.ask("GET", "/apis")[1]["groups"]}
    names = {resource["name"] for resource in api.ask("GET", "/api/v1")[1]["resources"]}
    assert {"nodes", "nodes/status", "secrets"} <= names
