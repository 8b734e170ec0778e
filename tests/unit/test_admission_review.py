"""AdmissionReview v1 in and out."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.admission_samples import NAMESPACE, SAMPLES, UID, osc, request, review
from webhook.admission.review import Decision, Request, ReviewError, one_line, parse, response


def refused(body: bytes) -> ReviewError:
    with pytest.raises(ReviewError) as error:
        parse(body)
    message = str(error.value)
    assert message
    assert message.isprintable()
    assert len(message) < 300
    return error.value


@pytest.mark.parametrize("name", ["admissionreview-create.json", "admissionreview-update.json"])
def test_a_review_as_an_api_server_sends_it(name: str) -> None:
    parsed = parse((SAMPLES / name).read_bytes())
    assert parsed.kind == ("extensions.gardener.cloud", "v1alpha1", "OperatingSystemConfig")
    assert parsed.resource == ("extensions.gardener.cloud", "v1alpha1", "operatingsystemconfigs")
    assert parsed.operation == name.removeprefix("admissionreview-").removesuffix(".json").upper()
    assert (parsed.uid, parsed.namespace) == (UID, NAMESPACE)
    assert parsed.name.startswith("gardener-node-agent-pool-0")
    assert parsed.object is not None
    assert (parsed.old_object is not None) == (parsed.operation == "UPDATE")


def test_what_a_request_may_lack_is_empty() -> None:
    bare = request(kind={"version": "v1", "kind": "Pod"}, resource={"version": "v1", "resource": "pods"})
    for key in ("namespace", "name", "object"):
        del bare[key]
    parsed = parse(review(bare | {"subResource": None}))
    assert (parsed.namespace, parsed.name, parsed.sub_resource) == ("", "", "")
    assert (parsed.object, parsed.old_object) == (None, None)
    assert parsed.subject == "CREATE of pods.v1.core"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is not JSON: Expecting value at line 1 column 1"),
        (b"{", "the body is not JSON: .* at line 1 column 2"),
        (review(request())[:-20], "the body is not JSON"),
        (review(request()) + b"x", "the body is not JSON: Extra data"),
        (b"\xef\xbb\xbf{}", "the body is not JSON: Unexpected UTF-8 BOM"),
        (b'"\xff"', "not UTF-8: invalid byte at offset 1"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a": NaN}', "NaN is not a JSON value"),
        (b'{"a": -Infinity}', "-Infinity is not a JSON value"),
        (b'{"a": 1e999}', "a number is out of range: 1e999"),
        (b'{"a": ' + b"9" * 5000 + b"}", "the body is not JSON"),
        (b'{"a": "\\ud800"}', "half of a surrogate pair"),
        (b'{"a": "\\uDFFF"}', "half of a surrogate pair"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b"[]", "must be an AdmissionReview object, not a list"),
        (b"null", "not null"),
        (b'"text"', "not a string"),
        (b"1.5", "not a number"),
        (b"true", "not a boolean"),
        (b"{}", "kind must be AdmissionReview"),
        (b'{"kind": "AdmissionReview"}', "apiVersion must be admission.k8s.io/v1"),
        (review(request()).replace(b"io/v1", b"io/v1beta1", 1), "apiVersion must be admission.k8s.io/v1"),
        (review(None), "request must be an object, not null"),
        (review([]), "request must be an object, not a list"),
        (review({}), "request.uid must be a string that is not empty"),
        (review(request(uid="")), "request.uid must be"),
        (review(request(uid=7)), "request.uid must be"),
    ],
)
def test_what_is_no_review_has_no_uid_to_echo(body: bytes, message: str) -> None:
    error = refused(body)
    assert error.uid is None
    with pytest.raises(ReviewError, match=message):
        parse(body)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": None}, "request.kind must be an object, not null"),
        ({"kind": {"group": "a", "version": "v1"}}, "request.kind.kind must be a string that is not empty"),
        ({"kind": {"group": 1, "version": "v1", "kind": "A"}}, "request.kind.group must be a string"),
        ({"resource": []}, "request.resource must be an object, not a list"),
        ({"resource": {"group": "a", "version": "", "resource": "a"}}, "request.resource.version must be"),
        ({"subResource": 1}, "request.subResource must be a string, not a number"),
        ({"operation": None}, "request.operation must be a string that is not empty, not null"),
        ({"namespace": {}}, "request.namespace must be a string, not an object"),
        ({"name": True}, "request.name must be a string, not a boolean"),
        ({"object": []}, "request.object must be an object or null, not a list"),
        ({"oldObject": "x"}, "request.oldObject must be an object or null, not a string"),
    ],
)
def test_a_request_with_an_odd_member_can_still_be_answered(changes: dict[str, Any], message: str) -> None:
    error = refused(review(request(**changes)))
    assert error.uid == UID
    assert message in str(error)


def test_characters_outside_the_basic_plane_are_welcome() -> None:
    body = json.dumps({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request()})
    parsed = parse(body.replace("pool-01", "\\ud83c\\udf3b").encode())
    assert parsed.name == "\N{SUNFLOWER}"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=20,
)


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_refused_in_one_line(body: bytes) -> None:
    refused(body)


@given(st.dictionaries(st.sampled_from([*request(), "subResource", "oldObject"]), json_values))
def test_any_members_lead_to_a_request_or_a_reason(members: dict[str, Any]) -> None:
    body = review(request() | members)
    try:
        result: object = parse(body)
    except ReviewError:
        result = refused(body)
    assert isinstance(result, Request | ReviewError)


def answer(decision: Decision) -> dict[str, Any]:
    document = json.loads(response(UID, decision))
    assert document["apiVersion"] == "admission.k8s.io/v1"
    assert document["kind"] == "AdmissionReview"
    answered: dict[str, Any] = document["response"]
    assert answered.pop("uid") == UID
    return answered


def test_an_answer_says_no_more_than_it_must() -> None:
    assert answer(Decision.skip()) == {"allowed": True}
    assert answer(Decision("unchanged")) == {"allowed": True}


def test_a_patch_comes_in_base64_with_its_type() -> None:
    patch = b'[{"op":"add","path":"/spec/files/-","value":{}}]'
    assert answer(Decision("patched", patch=patch)) == {
        "allowed": True,
        "patchType": "JSONPatch",
        "patch": base64.b64encode(patch).decode(),
    }


@pytest.mark.parametrize(
    ("code", "reason", "outcome"),
    [(400, "BadRequest", "malformed"), (422, "Invalid", "denied"), (500, "InternalError", "failed")],
)
def test_a_denial_has_a_code_a_reason_and_a_message_in_one_line(code: int, reason: str, outcome: str) -> None:
    decision = Decision.deny("no\n\x1b[31mway", code=code, warnings=("and",))
    assert decision.outcome == outcome
    assert answer(decision) == {
        "allowed": False,
        "status": {"status": "Failure", "message": "no  [31mway", "reason": reason, "code": code},
        "warnings": ["and"],
    }


def test_a_message_and_warnings_are_bounded() -> None:
    answered = answer(Decision.deny("x" * 100_000, code=422, warnings=("ü" * 1000,) * 100))
    assert len(answered["status"]["message"]) == 16384
    assert all(len(warning) <= 256 for warning in answered["warnings"])
    assert sum(len(warning.encode()) for warning in answered["warnings"]) < 4096
    assert answered["warnings"][-1] == "and 95 more warnings, see the log of the webhook"


@given(st.text(), st.integers(1, 50))
def test_one_line_is_printable_and_short(text: str, length: int) -> None:
    line = one_line(text, length)
    assert line.isprintable()
    assert len(line) <= length
    if text.isprintable() and len(text) <= length:
        assert line == text


def test_the_object_is_handed_on_untouched() -> None:
    thing = osc(unknown={"a": [1, 2.5, None, "ü"]})
    assert parse(review(request(thing))).object == thing
