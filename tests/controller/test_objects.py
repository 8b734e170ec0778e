"""Every object of a shoot: valid for Kubernetes, and as Gardener's rules for extensions want it."""

from __future__ import annotations

import base64
import json
from typing import Any

import kubernetes_validate
import pytest
import yaml

from bootstrapper.settings import ServerSettings
from controller.desired import desired
from controller.objects import certificate_secrets, names
from controller.objects.options import Exposure
from controller.shoot import read
from tests.controller.shoots import (
    HOST,
    NAMESPACE,
    NOW,
    OPTIONS,
    UID,
    Object,
    certificates,
    cluster,
    everything,
    extension,
    objects,
    one,
)
from webhook.context.resolve import Resolved, resolve
from webhook.mutation.model import Program

KUBERNETES_VERSIONS = ["1.33", "1.35", "1.37"]
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "nginx": {"exposure": Exposure.NGINX},
    "hibernated": {"spec__shoot__spec__hibernation": {"enabled": True}},
    "testing": {"spec__shoot__spec__purpose": "testing"},
}
CUSTOM = {
    ("resources.gardener.cloud/v1alpha1", "ManagedResource"),
    ("autoscaling.k8s.io/v1", "VerticalPodAutoscaler"),
    ("networking.istio.io/v1beta1", "Gateway"),
    ("networking.istio.io/v1beta1", "VirtualService"),
    ("networking.istio.io/v1beta1", "DestinationRule"),
    ("monitoring.coreos.com/v1alpha1", "ScrapeConfig"),
    ("monitoring.coreos.com/v1", "ServiceMonitor"),
    ("monitoring.coreos.com/v1", "PrometheusRule"),
}


def pod() -> Object:
    template: Object = one(objects(), "Deployment")["spec"]["template"]
    return template


def container() -> Object:
    (found,) = pod()["spec"]["containers"]
    return dict(found)


# All of them


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_object_is_valid_for_kubernetes(variant: str, version: str) -> None:
    checked = 0
    for thing in everything(objects(**VARIANTS[variant])):
        if (thing["apiVersion"], thing["kind"]) not in CUSTOM:
            kubernetes_validate.validate(thing, version, strict=True)
            checked += 1
    assert checked


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_object_is_labelled_as_ours_and_has_a_name_of_its_own(variant: str) -> None:
    made = everything(objects(**VARIANTS[variant]))
    for thing in made:
        assert names.LABELS.items() <= thing["metadata"]["labels"].items()
        assert (
            thing["metadata"]["name"]
            .removeprefix("managedresource-")
            .startswith(
                ("registry-spegel", "shoot-registry-spegel", "shoot-access-", "extensions.gardener.cloud:")
            )
        )
        elsewhere = {"ClusterRole": None, "ClusterRoleBinding": None, "ServiceAccount": "kube-system"}
        assert thing["metadata"].get("namespace") == elsewhere.get(thing["kind"], NAMESPACE)
    assert len({(thing["kind"], thing["metadata"]["name"]) for thing in made}) == len(made)


def test_the_same_input_gives_the_same_objects() -> None:
    assert objects() == objects()
    assert [each.secret() for each in objects().managed_resources] == [
        each.secret() for each in objects().managed_resources
    ]


@pytest.mark.parametrize("variant", VARIANTS)
def test_all_that_is_applied_directly_is_known_by_name_for_its_deletion(variant: str) -> None:
    made = objects(**VARIANTS[variant])
    resources = {thing["metadata"]["name"] for thing in made.direct() if thing["kind"] == "ManagedResource"}
    secrets = {thing["metadata"]["name"] for thing in made.direct() if thing["kind"] == "Secret"}
    assert resources | set(made.unwanted) == set(names.MANAGED_RESOURCES)
    assert secrets == {*names.SECRETS, *map(names.managed_resource_secret, resources)}
    assert {thing["kind"] for thing in made.direct()} == {"Secret", "ManagedResource"}


def test_the_extension_owns_what_is_applied_directly_but_the_authority() -> None:
    """When it moves to another seed the Extension is deleted, and Gardener has yet to copy the authority."""
    for thing in objects().direct():
        owners = thing["metadata"].get("ownerReferences", [])
        if thing["metadata"]["name"] == names.AUTHORITY_SECRET:
            assert not owners
        else:
            assert [(owner["kind"], owner["name"], owner["uid"]) for owner in owners] == [
                ("Extension", "registry-spegel", UID)
            ]


def test_an_extension_that_is_only_a_file_owns_nothing() -> None:
    made = desired(read(extension(metadata__uid=None), cluster()), certificates(), OPTIONS)
    assert not any("ownerReferences" in thing["metadata"] for thing in made.direct())


# ManagedResources


def test_each_managed_resource_holds_its_objects() -> None:
    for resource in objects().managed_resources:
        secret, thing = resource.secret(), resource.resource()
        assert thing["spec"]["secretRefs"] == [{"name": secret["metadata"]["name"]}]
        held = base64.b64decode(secret["data"]["objects.yaml"])
        assert list(yaml.safe_load_all(held)) == list(resource.objects)


@pytest.mark.parametrize("name", names.MANAGED_RESOURCES)
def test_a_managed_resource_says_where_it_goes_and_whose_it_is(name: str) -> None:
    thing = one(objects(), "ManagedResource", name)
    assert thing["metadata"]["labels"]["origin"] == "registry-spegel"
    spec = {key: value for key, value in thing["spec"].items() if key != "secretRefs"}
    if name == names.SHOOT_RESOURCE:
        assert spec == {"keepObjects": False, "injectLabels": {"shoot.gardener.cloud/no-cleanup": "true"}}
    else:
        assert spec == {"keepObjects": False, "class": "seed"}


def test_a_secret_of_a_managed_resource_may_change_and_is_not_collected_as_garbage() -> None:
    for resource in objects().managed_resources:
        secret = resource.secret()
        assert "immutable" not in secret
        assert "resources.gardener.cloud/garbage-collectable-reference" not in secret["metadata"]["labels"]


def test_only_an_account_and_its_rights_go_into_the_shoot_so_that_they_are_deleted_too() -> None:
    (resource,) = [each for each in objects().managed_resources if each.name == names.SHOOT_RESOURCE]
    account, role, binding = resource.objects
    assert (account["kind"], account["automountServiceAccountToken"]) == ("ServiceAccount", False)
    assert role["kind"] == "ClusterRole"
    assert role["rules"] == [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]}]
    assert binding["roleRef"] == {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": role["metadata"]["name"],
    }
    access = one(objects(), "Secret", names.ACCESS_SECRET)["metadata"]["annotations"]
    assert binding["subjects"] == [
        {
            "kind": "ServiceAccount",
            "name": access["serviceaccount.resources.gardener.cloud/name"],
            "namespace": access["serviceaccount.resources.gardener.cloud/namespace"],
        }
    ]
    (subject,) = binding["subjects"]
    assert subject.items() >= {key: account["metadata"][key] for key in ("name", "namespace")}.items()


def test_a_shoot_for_testing_has_no_monitoring() -> None:
    made = objects(**VARIANTS["testing"])
    assert made.unwanted == [names.MONITORING_RESOURCE]
    assert not [thing for thing in everything(made) if "monitoring" in thing["apiVersion"]]
    assert not [thing for thing in everything(made) if thing["kind"] == "ConfigMap"]
    assert objects().unwanted == []


def test_faults_of_the_monitoring_are_not_faults_of_the_control_plane() -> None:
    labels = one(objects(), "ManagedResource", names.MONITORING_RESOURCE)["metadata"]["labels"]
    assert labels["care.gardener.cloud/condition-type"] == "ObservabilityComponentsHealthy"


# Secrets


def test_private_keys_are_in_secrets_alone() -> None:
    made = objects()
    outside = [thing for thing in made.direct() if thing["kind"] != "Secret"]
    outside += [thing for resource in made.managed_resources for thing in resource.objects]
    assert "PRIVATE KEY" not in json.dumps(outside)
    held = [
        base64.b64decode(resource.secret()["data"]["objects.yaml"]) for resource in made.managed_resources
    ]
    assert not any(b"PRIVATE KEY" in text for text in held)


def test_the_authority_alone_is_taken_to_another_seed() -> None:
    persisted = [
        thing["metadata"]["name"]
        for thing in objects().direct()
        if thing["metadata"]["labels"].get("persist") == "true"
    ]
    assert persisted == [names.AUTHORITY_SECRET]


def test_what_is_stored_is_what_is_read_again() -> None:
    assert certificate_secrets.certificates(objects().direct()) == certificates()
    assert certificate_secrets.certificates([{"metadata": {"name": "other"}, "data": {"ca.crt": "="}}]) == (
        certificate_secrets.certificates([])
    )


def test_data_that_are_no_base64_are_no_data() -> None:
    broken = {
        "metadata": {"name": names.AUTHORITY_SECRET},
        "data": {"ca.crt": "?", "ca.key": 1, "url": "eA=="},
    }
    assert certificate_secrets.certificates([broken]).authority == {"url": b"x"}


def test_the_webhook_takes_the_secret_as_it_is() -> None:
    class Landscape:
        def extension(self, _: str) -> Object:
            return extension()

        def cluster(self, _: str) -> Object:
            return cluster()

        def secret(self, _: str) -> Object:
            return one(objects(), "Secret", names.CLIENT_SECRET)

    resolved = resolve(Landscape(), NAMESPACE, Program("registry.example.com/spegel:1", "/spegel", 0))
    assert isinstance(resolved, Resolved)
    assert resolved.warnings == ()
    assert resolved.context.bootstrap.url == f"https://{HOST}/bootstrap-nodes"
    assert resolved.context.bootstrap.certificate_secret == names.CLIENT_SECRET


def test_the_resource_manager_puts_a_token_into_the_access_secret() -> None:
    secret = one(objects(), "Secret", names.ACCESS_SECRET)
    assert secret["metadata"]["labels"].items() >= {
        ("resources.gardener.cloud/purpose", "token-requestor"),
        ("resources.gardener.cloud/class", "shoot"),
    }
    assert "data" not in secret  # which would take the token away


# The bootstrapper


def test_the_bootstrapper_listens_at_its_pods_address_be_it_ipv4_or_ipv6() -> None:
    (address,) = [each for each in container()["env"] if each["name"] == "BOOTSTRAPPER_ADDRESS"]
    assert address["valueFrom"] == {"fieldRef": {"fieldPath": "status.podIP"}}


@pytest.mark.parametrize("pod_ip", ["10.1.2.3", "fd00::3"])
def test_the_bootstrapper_accepts_its_settings(pod_ip: str) -> None:
    environment = {variable["name"]: variable.get("value", pod_ip) for variable in container()["env"]}
    assert all(name.startswith("BOOTSTRAPPER_") for name in environment)
    fields = {name.removeprefix("BOOTSTRAPPER_").lower(): value for name, value in environment.items()}
    assert fields.keys() <= ServerSettings.model_fields.keys()
    settings = ServerSettings(**fields)  # type: ignore[arg-type]  # as the environment has them
    assert str(settings.address) == pod_ip
    mounts = {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod()["spec"]["volumes"]}
    assert volumes["tls"]["secret"]["secretName"] == names.SERVER_SECRET
    data = one(objects(), "Secret", names.SERVER_SECRET)["data"]
    for file in (settings.tls_certificate, settings.tls_key, settings.client_authorities):
        assert file is not None
        assert str(file.parent) == mounts["tls"]
        assert file.name in data
    assert str(settings.kubeconfig) == "/var/run/secrets/gardener.cloud/shoot/generic-kubeconfig/kubeconfig"
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert ports == {"https": settings.port, "metrics": settings.probe_port}


def test_kubeconfig_and_token_come_in_one_volume() -> None:
    key = "generic-token-kubeconfig.secret.gardener.cloud/name"
    made = objects(metadata__annotations={key: "generic-token-kubeconfig-5f"})
    volumes = one(made, "Deployment")["spec"]["template"]["spec"]["volumes"]
    (volume,) = [each for each in volumes if each["name"] == "kubeconfig"]
    assert [source["secret"] for source in volume["projected"]["sources"]] == [
        {
            "name": "generic-token-kubeconfig-5f",
            "items": [{"key": "kubeconfig", "path": "kubeconfig"}],
            "optional": False,
        },
        {"name": names.ACCESS_SECRET, "items": [{"key": "token", "path": "token"}], "optional": False},
    ]
    assert volume["projected"]["defaultMode"] == 420


def test_it_may_do_no_more_than_it_must() -> None:
    spec = pod()["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_it_reaches_the_shoots_api_server_and_nothing_else() -> None:
    labels = pod()["metadata"]["labels"]
    assert {name: value for name, value in labels.items() if "networking" in name} == {
        "networking.gardener.cloud/to-dns": "allowed",
        "networking.resources.gardener.cloud/to-kube-apiserver-tcp-443": "allowed",
    }


def test_gardener_makes_it_as_available_as_the_shoot() -> None:
    deployment = one(objects(), "Deployment")
    assert (
        deployment["metadata"]["labels"]["high-availability-config.resources.gardener.cloud/type"] == "server"
    )
    assert deployment["spec"]["template"]["spec"]["priorityClassName"] == "gardener-system-200"
    selected = {"matchLabels": names.POD_LABELS}
    assert deployment["spec"]["selector"] == selected
    assert names.POD_LABELS.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    assert one(objects(), "PodDisruptionBudget")["spec"] == {
        "maxUnavailable": 1,
        "selector": selected,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }


def test_it_is_asked_for_its_health_without_tls() -> None:
    for probe, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert container()[probe]["httpGet"] == {"path": path, "port": "metrics", "scheme": "HTTP"}


@pytest.mark.parametrize(
    "changes",
    [VARIANTS["hibernated"], {"spec__shoot__spec__provider": {"type": "local", "workers": []}}],
    ids=["hibernated", "workerless"],
)
def test_without_nodes_it_is_scaled_to_zero_and_everything_else_stays(changes: dict[str, Any]) -> None:
    asleep = objects(**changes)
    assert one(asleep, "Deployment")["spec"]["replicas"] == 0
    assert one(objects(), "Deployment")["spec"]["replicas"] == 1
    assert [each["metadata"]["name"] for each in asleep.secrets] == list(names.SECRETS)


def test_a_renewed_certificate_does_not_restart_it() -> None:
    """It reads the files again; so nothing of them is in the pod's template."""
    assert "annotations" not in pod()["metadata"]


def test_only_its_requests_follow_its_use() -> None:
    spec = one(objects(), "VerticalPodAutoscaler")["spec"]
    assert spec["targetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": names.BOOTSTRAPPER}
    assert spec["updatePolicy"] == {"updateMode": "InPlaceOrRecreate"}
    own, others = spec["resourcePolicy"]["containerPolicies"]
    assert own["containerName"] == container()["name"]
    assert own["controlledValues"] == "RequestsOnly"
    assert others == {"containerName": "*", "mode": "Off"}


def test_prometheus_may_scrape_it() -> None:
    annotations = one(objects(), "Service")["metadata"]["annotations"]
    scraped = json.loads(
        annotations["networking.resources.gardener.cloud/from-all-scrape-targets-allowed-ports"]
    )
    (port,) = [each for each in container()["ports"] if each["name"] == "metrics"]
    assert scraped == [{"port": port["containerPort"], "protocol": "TCP"}]


# Its exposure


def test_istio_passes_tls_through_to_the_service() -> None:
    made = objects()
    gateway = one(made, "Gateway")["spec"]
    assert gateway["selector"] == {"app": "istio-ingressgateway", "istio": "ingressgateway"}
    assert gateway["servers"] == [
        {
            "hosts": [HOST],
            "port": {"number": 443, "name": "tls", "protocol": "TLS"},
            "tls": {"mode": "PASSTHROUGH"},
        }
    ]
    virtual_service = one(made, "VirtualService")["spec"]
    assert virtual_service["hosts"] == [HOST]
    assert virtual_service["gateways"] == [one(made, "Gateway")["metadata"]["name"]]
    (route,) = virtual_service["tls"]
    assert route["match"] == [{"port": 443, "sniHosts": [HOST]}]
    (weighted,) = route["route"]
    service = one(made, "Service")
    inside = f"{service['metadata']['name']}.{NAMESPACE}.svc.cluster.local"
    assert weighted == {"destination": {"host": inside, "port": {"number": 443}}}
    assert 443 in [port["port"] for port in service["spec"]["ports"]]
    rule = one(made, "DestinationRule")["spec"]
    assert rule["host"] == inside
    assert rule["trafficPolicy"]["tls"] == {"mode": "DISABLE"}


def test_nothing_is_visible_in_the_mesh_unless_it_says_so() -> None:
    made = objects()
    for kind in ("VirtualService", "DestinationRule"):
        assert one(made, kind)["spec"]["exportTo"] == ["istio-ingress"]
    annotations = one(made, "Service")["metadata"]["annotations"]
    assert annotations["networking.istio.io/exportTo"] == "istio-ingress"


def test_nginx_passes_tls_through_where_a_seed_still_runs_it() -> None:
    made = objects(exposure=Exposure.NGINX)
    ingress = one(made, "Ingress")
    assert ingress["metadata"]["annotations"] == {
        "nginx.ingress.kubernetes.io/ssl-passthrough": "true",
        "nginx.ingress.kubernetes.io/backend-protocol": "HTTPS",
    }
    assert ingress["spec"]["ingressClassName"] == "nginx-ingress-gardener"
    assert ingress["spec"]["tls"] == [{"hosts": [HOST]}]
    (rule,) = ingress["spec"]["rules"]
    assert rule["host"] == HOST
    (path,) = rule["http"]["paths"]
    assert path["backend"]["service"] == {"name": names.BOOTSTRAPPER, "port": {"number": 443}}
    assert not [thing for thing in everything(made) if "istio" in thing["apiVersion"]]
    assert "networking.istio.io/exportTo" not in one(made, "Service")["metadata"]["annotations"]


def test_the_certificate_is_for_the_host() -> None:
    from cryptography import x509

    leaf = x509.load_pem_x509_certificate(certificates().server["tls.crt"])
    names_of_it = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names_of_it.get_values_for_type(x509.DNSName) == [HOST]
    assert leaf.not_valid_before_utc < NOW
