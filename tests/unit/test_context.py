"""From the objects of a shoot to the context of its mutation: what is read, and what it comes to."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.unit.admission_samples import NAMESPACE, PROGRAM, URL, Shoot, cluster, extension, secret
from webhook.context.landscape import SECRET, LandscapeError
from webhook.context.resolve import ContextError, Resolved, Skip, resolve
from webhook.mutation import Bootstrap, NodeContext, Ports

DELETED = "2026-11-20T09:12:44Z"


def resolved(shoot: Shoot) -> Resolved:
    result = resolve(shoot, NAMESPACE, PROGRAM)
    assert isinstance(result, Resolved)
    return result


def provider_config(**fields: Any) -> dict[str, Any]:
    head = {"apiVersion": "spegel.extensions.gardener.cloud/v1alpha1", "kind": "SpegelConfig"}
    return extension(spec={"type": "registry-spegel", "providerConfig": head | fields})


def test_the_objects_of_a_shoot_become_its_context() -> None:
    shoot = Shoot(provider_config(registryPort=15500, resolveTags=False), cluster(), secret())
    assert resolved(shoot) == Resolved(
        NodeContext(Ports(15500, 5001, 9090), False, PROGRAM, Bootstrap(URL, SECRET)), ()
    )
    assert shoot.reads == ["extension", "cluster", "secret"]


@pytest.mark.parametrize("spec", [{"type": "registry-spegel"}, {"providerConfig": None}, None])
def test_no_provider_config_means_the_defaults(spec: object) -> None:
    assert resolved(Shoot(extension(spec=spec), cluster(), secret())).context.ports == Ports(5000, 5001, 9090)


def test_cilium_holds_the_port_of_the_metrics() -> None:
    shoot = Shoot(extension(spec={}), cluster(spec={"networking": {"type": "cilium"}}), secret())
    assert resolved(shoot).context.ports.metrics == 19090


@pytest.mark.parametrize("spec", [None, {}, {"networking": None}, {"networking": {}}])
def test_a_shoot_without_networking_has_the_defaults(spec: object) -> None:
    assert resolved(Shoot(extension(), cluster(spec=spec), secret())).context.ports.metrics == 9090


@pytest.mark.parametrize(
    ("thing", "reason"),
    [
        (None, "no Extension registry-spegel"),
        (extension(metadata={"deletionTimestamp": DELETED}), "being deleted"),
        (extension(metadata={"annotations": {"gardener.cloud/operation": "migrate"}}), "being migrated"),
        (extension(status={"lastOperation": {"type": "Migrate", "state": "Succeeded"}}), "being migrated"),
    ],
    ids=["absent", "deleting", "annotated", "migrated"],
)
def test_without_a_living_extension_nothing_else_is_read(thing: object, reason: str) -> None:
    unreadable = LandscapeError("must not matter")
    shoot = Shoot(thing, unreadable, unreadable)
    result = resolve(shoot, NAMESPACE, PROGRAM)
    assert isinstance(result, Skip)
    assert result.warning is not None
    assert reason in result.warning
    assert NAMESPACE in result.warning
    assert len(result.warning) <= 120
    assert shoot.reads == ["extension"]


def test_a_shoot_being_deleted_is_left_alone_in_silence() -> None:
    shoot = Shoot(extension(), cluster(metadata={"deletionTimestamp": DELETED}), None)
    assert resolve(shoot, NAMESPACE, PROGRAM) == Skip(None)
    assert shoot.reads == ["extension", "cluster"]


@pytest.mark.parametrize("name", ["extension", "cluster", "secret"])
def test_an_object_that_cannot_be_read_is_an_error(name: str) -> None:
    shoot = Shoot(extension(), cluster(), secret())
    shoot.objects[name] = LandscapeError(f"{name}: cannot be read: status 500")
    with pytest.raises(LandscapeError, match=f"{name}: cannot be read"):
        resolve(shoot, NAMESPACE, PROGRAM)


def test_a_missing_cluster_is_an_error() -> None:
    with pytest.raises(LandscapeError, match=f"Cluster {NAMESPACE}: not found"):
        resolve(Shoot(extension(), None, secret()), NAMESPACE, PROGRAM)


def test_all_errors_of_the_provider_config_are_said_with_their_paths() -> None:
    shoot = Shoot(provider_config(registryPort=70000, routerPort="x", colour="red"), cluster(), secret())
    with pytest.raises(ContextError) as error:
        resolve(shoot, NAMESPACE, PROGRAM)
    message = str(error.value)
    assert message.startswith(f"Extension {NAMESPACE}/registry-spegel: [spec.providerConfig.registryPort: ")
    assert "spec.providerConfig.routerPort: " in message
    assert "spec.providerConfig.colour" in message


@pytest.mark.parametrize(
    ("thing", "bootstrap", "warning"),
    [
        (None, Bootstrap(None, None), "not found: no bootstrap flags, no certificate files"),
        (secret(tls_key=None), Bootstrap(URL, None), "lacks tls.key: no certificate files"),
        (secret(tls_key=""), Bootstrap(URL, None), "lacks tls.key: no certificate files"),
        (secret(url=None), Bootstrap(None, SECRET), "lacks url: no bootstrap flags"),
        (secret(url=""), Bootstrap(None, SECRET), "lacks url: no bootstrap flags"),
        (
            secret() | {"data": None},
            Bootstrap(None, None),
            "lacks ca.crt, tls.crt, tls.key, url: no certificate files, no bootstrap flags",
        ),
    ],
    ids=["absent", "no key", "empty key", "no url", "empty url", "no data"],
)
def test_what_the_secret_lacks_is_left_out_with_a_warning(
    thing: object, bootstrap: Bootstrap, warning: str
) -> None:
    result = resolved(Shoot(extension(), cluster(), thing))
    assert result.context.bootstrap == bootstrap
    assert result.warnings == (f"Secret {NAMESPACE}/{SECRET} {warning}",)


@pytest.mark.parametrize(
    "url",
    [
        "http://bootstrap.example.com",
        "https://bootstrap.example.com:8443/bootstrap-nodes?shoot=a&b=c",
        "https://10.1.2.3/",
        "https://[2001:db8::1]:443/x",
    ],
)
def test_plain_urls_are_taken(url: str) -> None:
    assert resolved(Shoot(extension(), cluster(), secret(url=url))).context.bootstrap.url == url


@pytest.mark.parametrize(
    "url",
    [
        "bootstrap.example.com",
        "ftp://bootstrap.example.com/",
        "https://",
        "https:///bootstrap-nodes",
        "https://user:password@bootstrap.example.com/",
        "https://bootstrap.example.com:0/",
        "https://bootstrap.example.com:70000/",
        "https://bootstrap.example.com/#fragment",
        "https://bootstrap.example.com/ --debug",
        "https://bootstrap.example.com/\n",
        "https://bootstrap.example.com/\nExecStartPre=/bin/false",
        "https://bootstrap.example.com/%h",
        "https://bootstrap.example.com/${HOME}",
        'https://bootstrap.example.com/"',
        "https://bootstrap.example.com/'",
        "https://bootstrap.example.com/\\x20",
        "https://bootstrap.example.com/\x00",
        "https://bootstrap.example.com/ü",
        "https://bootstrap.example.com/" + "a" * 4096,
    ],
)
def test_urls_that_could_mean_something_to_systemd_are_refused(url: str) -> None:
    with pytest.raises(ContextError, match=rf"Secret {NAMESPACE}/{SECRET}: data\[url\]: ") as error:
        resolve(Shoot(extension(), cluster(), secret(url=url)), NAMESPACE, PROGRAM)
    assert "password" not in str(error.value)


@pytest.mark.parametrize("encoded", ["not base64!", base64.b64encode(b"\xff\xfe").decode()])
def test_a_url_that_is_no_text_is_refused(encoded: str) -> None:
    thing = secret()
    thing["data"]["url"] = encoded
    with pytest.raises(ContextError, match=r"data\[url\]: must be"):
        resolve(Shoot(extension(), cluster(), thing), NAMESPACE, PROGRAM)


@pytest.mark.parametrize(
    ("part", "thing", "message"),
    [
        ("extension", extension(metadata=[]), "Extension .*: metadata: must be an object, not list"),
        ("extension", extension(metadata={"annotations": 3}), "metadata.annotations: must be an object"),
        ("extension", extension(spec="x"), "Extension .*: spec: must be an object, not str"),
        ("extension", extension(status=False), "Extension .*: status: must be an object, not bool"),
        ("extension", extension(status={"lastOperation": []}), "status.lastOperation: must be an object"),
        ("cluster", {"spec": None}, "Cluster .*: spec.shoot: must be the Shoot, but is missing"),
        ("cluster", {}, "Cluster .*: spec.shoot: must be the Shoot, but is missing"),
        ("cluster", {"spec": {"shoot": []}}, "Cluster .*: spec.shoot: must be an object, not list"),
        ("cluster", cluster(metadata=1), "Cluster .*: spec.shoot.metadata: must be an object"),
        ("cluster", cluster(spec=[1]), "Cluster .*: spec.shoot.spec: must be an object"),
        ("cluster", cluster(spec={"networking": "calico"}), "spec.shoot.spec.networking: must be an object"),
        ("cluster", cluster(spec={"networking": {"type": 1}}), "spec.networking.type: must be a string"),
        ("secret", {"data": []}, "Secret .*: data: must be an object, not list"),
        ("secret", {"data": {"url": 1}}, r"Secret .*: data\[url\]: must be a string"),
        ("secret", {"data": {"tls.key": None}}, r"Secret .*: data\[tls.key\]: must be a string"),
    ],
)
def test_objects_of_an_odd_shape_are_named(part: str, thing: object, message: str) -> None:
    shoot = Shoot(extension(), cluster(), secret())
    shoot.objects[part] = thing
    with pytest.raises(ContextError, match=message):
        resolve(shoot, NAMESPACE, PROGRAM)
