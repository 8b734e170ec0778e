"""The client for the API server: what it asks, and how it says that something went wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import kopf
import pytest

from controller.operator.client import ApiError, Client, ConflictError, NotFoundError, Object
from controller.operator.login import NoApiServerError, log_in
from controller.operator.resources import LEASE, NAMESPACE, SECRET
from tests.apiserver import ApiServer


def secret(name: str, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "a"}, "data": data}


class Logins:
    """Logs in with one token after the other."""

    def __init__(self, url: str, *tokens: str, expiration: datetime | None = None) -> None:
        self.tokens = list(tokens)
        self._url = url
        self._expiration = expiration

    def __call__(self) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server=self._url, token=self.tokens.pop(0), expiration=self._expiration)


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as running:
        yield running


@pytest.fixture
async def client(server: ApiServer) -> AsyncIterator[Client]:
    made = Client(Logins(server.url, "first", "second"))
    yield made
    await made.close()


async def test_objects_come_and_go(client: Client) -> None:
    made = await client.create(SECRET, secret("s", a="Yg=="))
    assert await client.get(SECRET, "s", "a") == made
    changed = await client.patch(SECRET, "s", "a", {"data": {"c": "ZA=="}})
    assert changed["data"] == {"a": "Yg==", "c": "ZA=="}
    with pytest.raises(ConflictError):
        await client.update(SECRET, made)
    await client.delete(SECRET, changed)
    assert await client.find(SECRET, "s", "a") is None
    await client.delete(SECRET, changed)


async def test_what_took_the_name_of_a_deleted_object_is_not_deleted(client: Client) -> None:
    old = await client.create(SECRET, secret("s"))
    await client.delete(SECRET, old)
    new = await client.create(SECRET, secret("s"))
    await client.delete(SECRET, old)
    assert await client.get(SECRET, "s", "a") == new


async def test_applying_takes_over_what_it_says_and_leaves_the_rest(
    client: Client, server: ApiServer
) -> None:
    server.create(secret("s", theirs="Yg==", ours="Yg=="))
    applied = await client.apply(SECRET, secret("s", ours="ZA=="))
    assert applied["data"] == {"theirs": "Yg==", "ours": "ZA=="}
    assert await client.apply(SECRET, secret("s", ours="ZA==")) == applied


async def test_a_long_list_comes_in_pages(client: Client, server: ApiServer) -> None:
    for number in range(1203):
        labels = {"parity": "even"} if number % 2 == 0 else {}
        server.create(
            {**secret(f"s{number}"), "metadata": {"name": f"s{number}", "namespace": "a", "labels": labels}}
        )
    assert len(await client.list(SECRET)) == 1203
    assert len(await client.list(SECRET, "a", labels={"parity": "even"})) == 602
    assert await client.list(SECRET, "b") == []
    assert server.count()["list"] == 3 + 2 + 1


async def test_an_error_names_request_and_cause(client: Client, server: ApiServer) -> None:
    with pytest.raises(NotFoundError, match=r'^GET /api/v1/namespaces/a/secrets/s: .*"s" not found \(404\)$'):
        await client.get(SECRET, "s", "a")
    server.fail("get", "secrets", 500)
    with pytest.raises(ApiError, match=r"as asked for \(500\)") as error:
        await client.get(SECRET, "s", "a")
    assert error.value.status == 500
    server.fail("get", "secrets", 0, times=2)  # the library asks once more by itself
    with pytest.raises(ApiError, match="GET /api/v1/namespaces/a/secrets/s: ") as error:
        await client.get(SECRET, "s", "a")
    assert error.value.status is None
    server.stop()
    with pytest.raises(ApiError, match="GET /api/v1/namespaces/a/secrets/s: "):
        await client.get(SECRET, "s", "a")
    server.start()
    assert await client.find(SECRET, "s", "a") is None


async def test_a_renewed_token_is_read_when_the_old_one_is_refused(client: Client, server: ApiServer) -> None:
    server.tokens = {"first"}
    assert await client.list(NAMESPACE) == []
    server.tokens = {"second"}
    assert await client.list(NAMESPACE) == []
    server.tokens = {"third"}
    with pytest.raises(IndexError):  # there is no further token to be had
        await client.list(NAMESPACE)


async def test_a_token_that_stays_refused_is_an_error(server: ApiServer) -> None:
    server.tokens = {"right"}
    client = Client(Logins(server.url, "wrong", "wrong"))
    with pytest.raises(ApiError, match=r"Unauthorized \(401\)"):
        await client.list(NAMESPACE)
    await client.close()


async def test_an_expired_login_is_renewed_before_it_is_refused(server: ApiServer) -> None:
    logins = Logins(server.url, "a", "b", "c", expiration=datetime.now(UTC) - timedelta(seconds=1))
    client = Client(logins)
    for _ in range(3):
        await client.list(LEASE)
    assert [request.token for request in server.requests] == ["a", "b", "c"]
    await client.close()


async def test_credentials_that_cannot_be_read_for_a_while_are_an_error_of_the_request(
    server: ApiServer,
) -> None:
    logins = Logins(server.url, "a")

    def log_in_later() -> kopf.ConnectionInfo:
        if server.requests or not logins.tokens:
            raise NoApiServerError("the token is being replaced")
        server.tokens = {"b"}
        return logins()

    client = Client(log_in_later)
    with pytest.raises(ApiError, match="the token is being replaced"):
        await client.list(NAMESPACE)
    await client.close()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "cannot be used"),
        ("[", "cannot be used"),
        ("[]", "cannot be used"),
        ("current-context: none", "cannot be used"),
        ("{}", "cannot be used"),
        ("current-context: a\ncontexts: [{name: a, context: {cluster: b, user: c}}]", "cannot be used"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, problem: str
) -> None:
    file = tmp_path / "kubeconfig"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(file))
    with pytest.raises(NoApiServerError, match=problem):
        log_in(kopf.OperatorSettings())


def test_without_pod_and_kubeconfig_there_is_no_api_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(NoApiServerError, match="set KUBECONFIG"):
        log_in(kopf.OperatorSettings())
