"""What is read of an Extension and a Cluster, and what is said when something is missing."""

from __future__ import annotations

from typing import Any

import pytest

import api
from controller.certificates.rotation import Rotation
from controller.shoot import Shoot, ShootError, read
from tests.controller.shoots import NAMESPACE, UID, cluster, extension, shoot


def test_the_sample() -> None:
    assert shoot() == Shoot(
        namespace=NAMESPACE,
        technical_id=NAMESPACE,
        extension="registry-spegel",
        extension_uid=UID,
        ingress_domain="ingress.gcp-ha.example.com",
        generic_kubeconfig="generic-token-kubeconfig",
        metrics_port=9090,
        runs=True,
        monitored=True,
        rotation=Rotation("Completed", "2026-03-02T10:00:00Z"),
    )


def test_without_provider_config_all_is_as_by_default() -> None:
    """An Extension that is enabled for all shoots has none."""
    automatic = read(extension(spec__providerConfig=None), cluster())
    assert automatic == shoot()


def test_cilium_has_taken_the_default_port_of_the_metrics() -> None:
    automatic = extension(spec__providerConfig=None)
    port = read(automatic, cluster(spec__shoot__spec__networking={"type": "cilium"})).metrics_port
    assert port == api.load(None, path="", networking_type="cilium").metrics_port != 9090


@pytest.mark.parametrize(
    ("changes", "runs", "monitored"),
    [
        ({"spec__shoot__spec__hibernation": {"enabled": True}}, False, True),
        ({"spec__shoot__spec__hibernation": {"enabled": False}}, True, True),
        ({"spec__shoot__spec__purpose": "testing"}, True, False),
        ({"spec__shoot__spec__purpose": None}, True, True),
        ({"spec__shoot__spec__provider": {"type": "local"}}, False, False),
    ],
)
def test_where_there_may_be_nodes_and_a_prometheus(
    changes: dict[str, Any], runs: bool, monitored: bool
) -> None:
    read_shoot = shoot(**changes)
    assert (read_shoot.runs, read_shoot.monitored) == (runs, monitored)


def test_the_secret_with_the_kubeconfig_is_named_by_the_cluster() -> None:
    key = "generic-token-kubeconfig.secret.gardener.cloud/name"
    assert shoot(metadata__annotations={key: "generic-token-kubeconfig-5f"}).generic_kubeconfig == (
        "generic-token-kubeconfig-5f"
    )


def test_a_shoot_that_was_never_rotated() -> None:
    assert shoot(spec__shoot__status={"technicalID": NAMESPACE}).rotation == Rotation(None, None)
    assert shoot(spec__shoot__status=None).technical_id == NAMESPACE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metadata__name": "shoot--crazy--zoo"}, "metadata.name: is 'shoot--crazy--zoo', another shoot's"),
        ({"spec__shoot": None}, "spec.shoot: is missing"),
        ({"spec__shoot": []}, "spec.shoot: must be an object"),
        ({"spec__shoot__spec": None}, "spec.shoot.spec: is missing"),
        ({"spec__seed": None}, "spec.seed.spec.ingress.domain: is missing"),
        ({"spec__seed__spec__ingress__domain": 1}, "spec.seed.spec.ingress.domain: must be a string"),
        (
            {"spec__seed__spec__ingress__domain": "a b"},
            "spec.seed.spec.ingress.domain: 'a b' is not a DNS name of at most 189 characters",
        ),
        ({"metadata__name": None}, "metadata.name: is missing"),
        ({"spec__shoot__status__technicalID": 5}, "spec.shoot.status.technicalID: must be a string"),
        (
            {"spec__shoot__status__technicalID": "Shoot"},
            "spec.shoot.status.technicalID: 'Shoot' is not a DNS name of at most 253 characters",
        ),
        (
            {"spec__shoot__spec__hibernation": {"enabled": "false"}},
            "spec.shoot.spec.hibernation.enabled: must be true or false",
        ),
        ({"spec__shoot__spec__purpose": []}, "spec.shoot.spec.purpose: must be a string"),
        (
            {"spec__shoot__spec__provider": {"workers": {}}},
            "spec.shoot.spec.provider.workers: must be a list",
        ),
        (
            {"spec__shoot__status__credentials": {"rotation": {"certificateAuthorities": {"phase": 1}}}},
            "spec.shoot.status.credentials.rotation.certificateAuthorities.phase: must be a string",
        ),
    ],
)
def test_what_is_missing_in_the_cluster_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ShootError) as raised:
        shoot(**changes)
    assert str(raised.value) == f"Cluster {NAMESPACE}: {message}"


def test_what_is_missing_in_the_extension_is_named() -> None:
    for key, message in [("namespace", "metadata.namespace"), ("name", "metadata.name")]:
        with pytest.raises(ShootError, match=rf"^Extension: {message}: is missing$"):
            read(extension(**{f"metadata__{key}": None}), cluster())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("namespace", "a.b", "'a.b' is not a DNS name of at most 63 characters"),
        ("namespace", "a" * 64, f"'{'a' * 64}' is not a DNS name of at most 63 characters"),
        ("name", 5, "must be a string"),
        ("uid", 5, "must be a string"),
        ("annotations", "x", "must be an object"),
    ],
)
def test_what_is_wrong_in_the_extension_is_named(key: str, value: object, message: str) -> None:
    with pytest.raises(ShootError) as raised:
        read(extension(**{f"metadata__{key}": value}), cluster())
    assert str(raised.value) == f"Extension: metadata.{key}: {message}"


def test_a_wrong_provider_config_is_named_with_its_field() -> None:
    wrong = {
        "apiVersion": "spegel.extensions.gardener.cloud/v1alpha1",
        "kind": "SpegelConfig",
        "registryPort": 0,
    }
    with pytest.raises(api.InvalidObject, match=r"spec\.providerConfig\.registryPort"):
        read(extension(spec__providerConfig=wrong), cluster())
