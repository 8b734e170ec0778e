"""What the two endpoints decide."""

from __future__ import annotations

from typing import Any

import jsonpatch
import pytest

from tests.unit.admission_samples import (
    NAMESPACE,
    PROGRAM,
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
from webhook.admission import mutating, validating
from webhook.admission.review import Decision, parse, response
from webhook.context.landscape import LandscapeError
from webhook.context.resolve import Resolved, Skip, resolve

DELETED = "2026-11-20T09:12:44Z"
UNREADABLE = LandscapeError("must not be read")


def decide(request: object, shoot: Shoot | None = None) -> Decision:
    shoot = shoot or Shoot(extension(), cluster(), secret())
    parsed = parse(review(request))
    return mutating.decide(parsed, lambda namespace: resolve(shoot, namespace, PROGRAM))


def decide_without_reading(request: object) -> Decision:
    shoot = Shoot(UNREADABLE, UNREADABLE, UNREADABLE)
    decision = decide(request, shoot)
    assert shoot.reads == []
    return decision


@pytest.mark.parametrize("name", ["admissionreview-create.json", "admissionreview-update.json"])
def test_the_samples_are_patched_once(name: str) -> None:
    parsed = parse((SAMPLES / name).read_bytes())

    def contexts(namespace: str) -> Resolved | Skip:
        return resolve(Shoot(extension(), cluster(), secret()), namespace, PROGRAM)

    decision = mutating.decide(parsed, contexts)
    assert decision.outcome == "patched"
    patch = patch_of(response(parsed.uid, decision))
    assert patch
    patched = jsonpatch.apply_patch(parsed.object, patch)
    assert decide(request(patched)) == Decision("unchanged")


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": {"group": "", "version": "v1", "kind": "Pod"}},
        {"kind": request()["kind"] | {"version": "v1beta1"}},
        {"kind": request()["kind"] | {"group": "example.com"}},
        {"resource": {"group": "", "version": "v1", "resource": "pods"}},
        {"resource": request()["resource"] | {"version": "v1"}},
        {"subResource": "status"},
        {"operation": "DELETE", "object": None},
        {"operation": "CONNECT"},
    ],
)
def test_reviews_of_other_things_are_allowed_with_a_warning(changes: dict[str, Any]) -> None:
    decision = decide_without_reading(request(**changes))
    assert (decision.allowed, decision.outcome, decision.patch) == (True, "skipped", b"")
    (warning,) = decision.warnings
    assert warning.startswith("registry-spegel does not handle ")


@pytest.mark.parametrize(
    "thing",
    [
        sample("osc-provision.yaml"),
        osc(purpose="provision"),
        osc(purpose=None),
        osc(purpose=["reconcile"]),
        osc() | {"metadata": {"deletionTimestamp": DELETED}},
        osc() | {"spec": None},
        {},
    ],
    ids=["sample", "provision", "no purpose", "odd purpose", "deleting", "no spec", "empty"],
)
def test_what_is_not_to_be_reconciled_is_allowed_in_silence(thing: object) -> None:
    assert decide_without_reading(request(thing)) == Decision("skipped")


@pytest.mark.parametrize("operation", ["CREATE", "UPDATE"])
def test_a_write_of_nothing_is_denied(operation: str) -> None:
    decision = decide_without_reading(request() | {"object": None, "operation": operation})
    assert (decision.allowed, decision.code) == (False, 422)
    assert "request.object: must be the OperatingSystemConfig, not null" in decision.message


@pytest.mark.parametrize("thing", [osc() | {"spec": []}, osc() | {"metadata": "x"}])
def test_an_object_of_an_odd_shape_is_denied(thing: object) -> None:
    decision = decide_without_reading(request(thing))
    assert (decision.allowed, decision.code) == (False, 422)
    assert "must be an object" in decision.message


@pytest.mark.parametrize("namespace", ["", "..", "a/b", "A", "a" * 64, "-a", "ü", "a?b"])
def test_a_namespace_that_is_none_never_becomes_a_path(namespace: str) -> None:
    decision = decide_without_reading(request(namespace=namespace))
    assert (decision.allowed, decision.code) == (False, 422)
    assert "request.namespace" in decision.message


def test_a_disabled_extension_leaves_the_object_alone() -> None:
    decision = decide(request(), Shoot(None, UNREADABLE, UNREADABLE))
    assert (decision.outcome, decision.allowed, decision.patch) == ("skipped", True, b"")
    assert f"no Extension registry-spegel in {NAMESPACE}" in decision.warnings[0]


def test_a_shoot_being_deleted_is_left_alone() -> None:
    shoot = Shoot(extension(), cluster(metadata={"deletionTimestamp": DELETED}), UNREADABLE)
    assert decide(request(), shoot) == Decision("skipped")


def test_an_unreadable_object_is_our_failure() -> None:
    error = LandscapeError("Cluster x: cannot be read: no answer within 2.5 s")
    decision = decide(request(), Shoot(extension(), error, secret()))
    assert (decision.allowed, decision.outcome, decision.code) == (False, "failed", 500)
    assert decision.message == str(error)


def test_a_bad_provider_config_is_the_owners_fault() -> None:
    bad = extension(spec={"providerConfig": {"kind": "SpegelConfig", "registryPort": 0}})
    decision = decide(request(), Shoot(bad, cluster(), secret()))
    assert (decision.allowed, decision.outcome, decision.code) == (False, "denied", 422)
    assert "spec.providerConfig.registryPort" in decision.message
    assert "spec.providerConfig.apiVersion" in decision.message


def test_a_broken_hosts_toml_is_denied_whole() -> None:
    broken = {
        "path": "/etc/containerd/certs.d/quay.io/hosts.toml",
        "content": {"inline": {"encoding": "", "data": "server = \n"}},
    }
    decision = decide(request(osc(files=[broken])))
    assert (decision.allowed, decision.code, decision.patch) == (False, 422, b"")
    assert broken["path"] in decision.message


def test_warnings_of_the_context_come_with_those_of_the_mutation() -> None:
    decision = decide(request(osc(criConfig=None)), Shoot(extension(), cluster(), None))
    assert decision.outcome == "patched"
    assert "Secret" in decision.warnings[0]
    assert "criConfig" in decision.warnings[1]


def validate(request: object) -> Decision:
    return validating.decide(parse(review(request)))


def shoot_with(config: dict[str, Any]) -> dict[str, Any]:
    head = {"apiVersion": "spegel.extensions.gardener.cloud/v1alpha1", "kind": "SpegelConfig"}
    thing = sample("shoot.yaml")
    thing["spec"]["extensions"] = [{"type": "registry-spegel", "providerConfig": head | config}]
    return thing


def test_a_valid_shoot_is_allowed() -> None:
    decision = validate(shoot_request(sample("shoot.yaml")))
    assert (decision.allowed, decision.outcome) == (True, "allowed")


def test_all_errors_of_a_shoot_stand_in_one_message() -> None:
    decision = validate(shoot_request(shoot_with({"registryPort": 70000, "routerPort": 0})))
    assert (decision.allowed, decision.outcome, decision.code) == (False, "denied", 422)
    assert "spec.extensions[0].providerConfig.registryPort: Invalid value: 70000" in decision.message
    assert "spec.extensions[0].providerConfig.routerPort: Invalid value: 0" in decision.message


def test_an_update_is_judged_with_the_old_object() -> None:
    invalid = shoot_with({"registryPort": 70000})
    assert not validate(shoot_request(invalid, operation="UPDATE", oldObject=sample("shoot.yaml"))).allowed
    assert validate(shoot_request(invalid, operation="UPDATE", oldObject=invalid)).allowed


@pytest.mark.parametrize(
    "changes",
    [
        {"operation": "DELETE", "object": None},
        {"subResource": "status"},
        {"kind": {"group": "core.gardener.cloud", "version": "v1beta1", "kind": "Seed"}},
    ],
)
def test_reviews_of_things_other_than_shoots_are_allowed_with_a_warning(changes: dict[str, Any]) -> None:
    decision = validate(shoot_request(shoot_with({"registryPort": 0}), **changes))
    assert (decision.allowed, decision.outcome) == (True, "skipped")
    assert decision.warnings


def test_a_write_of_no_shoot_is_denied() -> None:
    decision = validate(shoot_request(None) | {"object": None})
    assert (decision.allowed, decision.code) == (False, 422)


def test_the_uid_is_echoed() -> None:
    assert f'"uid":"{UID}"'.encode() in response(UID, validate(shoot_request(sample("shoot.yaml"))))
