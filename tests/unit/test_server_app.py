"""The WSGI application, without a server around it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from serving.settings import load
from tests.unit.admission_samples import (
    SAMPLES,
    UID,
    Shoot,
    cluster,
    extension,
    osc,
    patch_of,
    request,
    review,
    sample,
    secret,
    shoot_request,
)
from webhook.context.landscape import LandscapeError
from webhook.server.app import create_app
from webhook.settings import ServerSettings

MUTATE, VALIDATE = "/webhooks/registry-spegel", "/webhooks/validate-shoot"


def client(
    shoot: Shoot | None = None, check_ready: Callable[[], None] = lambda: None, **flags: object
) -> FlaskClient:
    settings = load(ServerSettings, {"address": "127.0.0.1"} | flags)
    return create_app(settings, shoot or Shoot(extension(), cluster(), secret()), check_ready).test_client()


def post(http: FlaskClient, path: str, body: bytes, **headers: str) -> TestResponse:
    return http.post(path, data=body, headers={"Content-Type": "application/json"} | headers)


def assert_one_line(response: TestResponse, status: int, text: str) -> None:
    assert response.status_code == status
    assert response.content_type == "text/plain; charset=utf-8"
    line = response.text
    assert line.endswith("\n")
    assert line.removesuffix("\n").isprintable()
    assert text in line


def figure(http: FlaskClient, name: str) -> float:
    lines = http.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


@pytest.mark.parametrize("path", [MUTATE, f"{MUTATE}?timeout=10s"])
def test_an_admission(path: str) -> None:
    body = (SAMPLES / "admissionreview-create.json").read_bytes()
    response = post(client(), path, body, **{"Content-Type": "application/json; charset=utf-8"})
    assert (response.status_code, response.content_type) == (200, "application/json")
    assert response.json["response"]["uid"] == UID
    assert response.json["response"]["allowed"]
    assert patch_of(response.data)


def test_a_validation() -> None:
    response = post(client(), VALIDATE, review(shoot_request(sample("shoot.yaml"))))
    assert response.json["response"]["uid"] == UID
    assert response.json["response"]["allowed"]


def test_a_request_that_is_odd_is_answered_with_its_uid() -> None:
    response = post(client(), MUTATE, review(request(operation=None)))
    assert response.status_code == 200
    assert response.json["response"]["uid"] == UID
    assert response.json["response"]["status"]["code"] == 400


@pytest.mark.parametrize(
    ("body", "headers", "status", "text"),
    [
        (b"{", {}, 400, "not JSON"),
        (b"[" * 1_000_000, {}, 400, "nested too deeply"),
        (b"{}", {}, 400, "kind must be AdmissionReview"),
        (b"{}", {"Content-Type": "text/plain"}, 415, "application/json"),
        (b"{}", {"Content-Type": ""}, 415, "application/json"),
        (b"{}", {"Content-Type": "application/jsonx"}, 415, "application/json"),
        (b"{}", {"Content-Encoding": "gzip"}, 415, "must not be encoded"),
        (b" " * ((1 << 20) + 1), {}, 413, "larger than 1048576 bytes"),
    ],
)
def test_what_is_no_review_is_an_http_error_in_one_line(
    body: bytes, headers: dict[str, str], status: int, text: str
) -> None:
    http = client(max_body_bytes=1 << 20)
    assert_one_line(post(http, MUTATE, body, **headers), status, text)


@pytest.mark.parametrize(("size", "status"), [(1024, 200), (1025, 413), (1 << 20, 413)])
def test_a_body_of_unknown_length_is_bounded_too(size: int, status: int) -> None:
    body = review(request(osc(purpose="provision")))
    response = client(max_body_bytes=1024).post(
        MUTATE,
        headers={"Content-Type": "application/json"},
        environ_overrides={"wsgi.input": _Stream(body.ljust(size)), "wsgi.input_terminated": True},
    )
    assert response.status_code == status


class _Stream:
    """As gunicorn gives a chunked body: bytes, then nothing."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int = -1) -> bytes:
        size = min(len(self._data) if size < 0 else size, 100)
        data, self._data = self._data[:size], self._data[size:]
        return data

    def close(self) -> None:
        pass


class _Broken(_Stream):
    def read(self, size: int = -1) -> bytes:
        raise TimeoutError


def test_a_body_that_does_not_arrive_is_a_bad_request() -> None:
    response = client().post(
        MUTATE,
        headers={"Content-Type": "application/json"},
        environ_overrides={"wsgi.input": _Broken(b""), "wsgi.input_terminated": True},
    )
    assert_one_line(response, 400, "cannot be read to its end")


@pytest.mark.parametrize("path", ["/", "/webhooks", "/webhooks/registry-spegel/", "/static/x"])
def test_unknown_paths(path: str) -> None:
    assert_one_line(client().get(path), 404, "not found")


@pytest.mark.parametrize(("method", "path"), [("GET", MUTATE), ("PUT", VALIDATE), ("POST", "/healthz")])
def test_wrong_methods(method: str, path: str) -> None:
    response = client().open(path, method=method)
    assert_one_line(response, 405, "not allowed")
    assert response.headers["Allow"]


def test_an_unexpected_error_is_an_answer_and_a_log_entry(caplog: pytest.LogCaptureFixture) -> None:
    shoot = Shoot(extension(), cluster(), secret())
    shoot.objects["extension"] = object()
    response = post(client(shoot), MUTATE, review(request()))
    answer = response.json["response"]
    assert (answer["uid"], answer["allowed"], answer["status"]["code"]) == (UID, False, 500)
    assert "unexpected error" in answer["status"]["message"]
    assert "Traceback" not in response.text
    assert "AttributeError" in caplog.text


def test_one_set_of_reads_serves_the_admissions_of_a_few_seconds() -> None:
    shoot = Shoot(extension(), cluster(), secret())
    http = client(shoot)
    before = figure(http, "registry_spegel_webhook_context_reads_total")
    for _ in range(5):
        assert patch_of(post(http, MUTATE, review(request())).data)
    assert shoot.reads == ["extension", "cluster", "secret"]
    assert figure(http, "registry_spegel_webhook_context_reads_total") == before + 1


def test_healthy_means_that_it_answers() -> None:
    assert client().get("/healthz").status_code == 200


def test_ready_means_that_the_api_server_answers_and_is_asked_now_and_then_only() -> None:
    asked: list[None] = []

    def answers() -> None:
        asked.append(None)

    def fails() -> None:
        raise LandscapeError("API server: cannot be read: no answer within 1 s")

    http = client(check_ready=answers)
    assert [http.get("/readyz").status_code for _ in range(3)] == [200] * 3
    assert len(asked) == 1
    assert_one_line(client(check_ready=fails).get("/readyz"), 503, "no answer within 1 s")


def test_figures_count_what_came_of_admissions() -> None:
    http = client()
    series = 'registry_spegel_webhook_admissions_total{outcome="%s",webhook="registry-spegel"}'
    outcomes = ["patched", "skipped", "malformed"]
    before = [figure(http, series % outcome) for outcome in outcomes]
    sizes = figure(http, "registry_spegel_webhook_patch_bytes_count")
    post(http, MUTATE, review(request()))
    post(http, MUTATE, review(request(operation="DELETE")))
    post(http, MUTATE, b"{")
    assert [figure(http, series % outcome) for outcome in outcomes] == [count + 1 for count in before]
    assert figure(http, "registry_spegel_webhook_patch_bytes_count") == sizes + 1
    assert figure(http, 'registry_spegel_webhook_admission_duration_seconds_count{webhook="registry-spegel"}')


def log_lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [record.msg for record in caplog.records if isinstance(record.msg, dict)]


def test_an_admission_is_one_line_of_log_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    shoot = Shoot(extension(), cluster(), secret(ca_crt=None))
    post(client(shoot), MUTATE, review(request()))
    (line,) = log_lines(caplog)
    assert line.pop("duration") >= 0
    (warning,) = line.pop("warnings")
    assert "lacks ca.crt" in warning
    assert line == {
        "message": "admission",
        "webhook": "registry-spegel",
        "outcome": "patched",
        "namespace": "shoot--crazy--botany",
        "name": "pool-01",
        "uid": UID,
        "operation": "CREATE",
    }
    assert secret()["data"]["tls.key"] not in json.dumps(log_lines(caplog))


def test_a_denial_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    error = LandscapeError("Cluster x: cannot be read")
    post(client(Shoot(extension(), error, None)), MUTATE, review(request(name="evil\n{}")))
    (line,) = log_lines(caplog)
    assert (line["outcome"], line["reason"]) == ("failed", str(error))
    assert line["name"] == "evil {}"
    assert caplog.records[-1].levelname == "ERROR"


def test_an_odd_request_is_logged_with_the_uid_that_its_answer_has(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    post(client(), MUTATE, review(request(operation=None)))
    (line,) = log_lines(caplog)
    assert (line["outcome"], line["uid"]) == ("malformed", UID)
    assert "request.operation must be a string" in line["reason"]
