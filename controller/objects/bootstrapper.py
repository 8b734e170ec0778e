"""The bootstrapper: its Deployment and Service, and what keeps them available and rightly sized.

Its certificates, its token and the nodes' bundle are read from mounted Secrets again when they change, so
none of them restarts a pod. The kubeconfig is a Secret whose name changes with its content: that does.
"""

from __future__ import annotations

import json
from typing import Any

from controller.objects import names
from controller.objects.exposure import HTTPS_PORT, service_annotations
from controller.objects.options import Options

Object = dict[str, Any]

TLS_PORT = 8443
PROBE_PORT = 8080
"""Health and metrics, without TLS."""

_TLS = "/etc/bootstrapper/tls"
_KUBECONFIG = "/var/run/secrets/gardener.cloud/shoot/generic-kubeconfig"
_USER = 65532
_GROUP_READS = 0o440


def bootstrapper(namespace: str, *, runs: bool, generic_kubeconfig: str, options: Options) -> list[Object]:
    """Return all objects of the bootstrapper but its exposure.

    Args:
        namespace: of the shoot's control plane.
        runs: False for a shoot that has no nodes now; the bootstrapper is scaled to zero.
        generic_kubeconfig: Secret with the kubeconfig, at present.
        options: of the seed.
    """
    return [
        _deployment(namespace, options.bootstrapper_image, generic_kubeconfig, runs=runs),
        _service(namespace, options),
        _pod_disruption_budget(namespace),
        _vertical_pod_autoscaler(namespace),
    ]


def _deployment(namespace: str, image: str, generic_kubeconfig: str, *, runs: bool) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(
            namespace,
            # For a highly available shoot Gardener adds replicas, and spreads them.
            labels={"high-availability-config.resources.gardener.cloud/type": "server"},
        ),
        "spec": {
            "replicas": int(runs),
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": dict(names.POD_LABELS)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {
                    "labels": {
                        **names.LABELS,
                        **names.POD_LABELS,
                        "networking.gardener.cloud/to-dns": "allowed",
                        "networking.resources.gardener.cloud/to-kube-apiserver-tcp-443": "allowed",
                    }
                },
                "spec": _pod(image, generic_kubeconfig),
            },
        },
    }


def _pod(image: str, generic_kubeconfig: str) -> Object:
    return {
        "priorityClassName": "gardener-system-200",
        # It talks to the shoot's API server alone, with the token of the projected volume.
        "automountServiceAccountToken": False,
        # The variables of a Service named like this one would look like settings.
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(image)],
        "volumes": [
            {
                "name": "tls",
                "secret": {"secretName": names.SERVER_SECRET, "defaultMode": _GROUP_READS},
            },
            {
                "name": "kubeconfig",
                "projected": {
                    "defaultMode": 0o644,
                    "sources": [
                        _projection(generic_kubeconfig, "kubeconfig"),
                        _projection(names.ACCESS_SECRET, "token"),
                    ],
                },
            },
            # For what the server keeps in memory where it may not write to /dev/shm.
            {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
        ],
    }


def _container(image: str) -> Object:
    settings = {
        "PORT": str(TLS_PORT),
        "PROBE_PORT": str(PROBE_PORT),
        "TLS_CERTIFICATE": f"{_TLS}/tls.crt",
        "TLS_KEY": f"{_TLS}/tls.key",
        "CLIENT_AUTHORITIES": f"{_TLS}/ca.crt",
        "KUBECONFIG": f"{_KUBECONFIG}/kubeconfig",
    }
    # Of whichever family the seed's pods are; 0.0.0.0 would leave out IPv6.
    address = {"fieldRef": {"fieldPath": "status.podIP"}}
    return {
        "name": "bootstrapper",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["serve"],
        "env": [
            {"name": "BOOTSTRAPPER_ADDRESS", "valueFrom": address},
            *({"name": f"BOOTSTRAPPER_{name}", "value": value} for name, value in settings.items()),
        ],
        "ports": [
            {"name": "https", "containerPort": TLS_PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": PROBE_PORT, "protocol": "TCP"},
        ],
        "livenessProbe": _probe("/healthz", 10),
        "readinessProbe": _probe("/readyz", 5),
        # Until no one sends to this pod any more it still answers.
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        "resources": {"requests": {"cpu": "10m", "memory": "96Mi"}, "limits": {"memory": "384Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "tls", "mountPath": _TLS, "readOnly": True},
            {"name": "kubeconfig", "mountPath": _KUBECONFIG, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a path in the container
        ],
    }


def _probe(path: str, period: int) -> Object:
    return {
        "httpGet": {"path": path, "port": "metrics", "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": 3,
    }


def _projection(secret: str, key: str) -> Object:
    return {"secret": {"name": secret, "items": [{"key": key, "path": key}], "optional": False}}


def _service(namespace: str, options: Options) -> Object:
    scraped = [{"port": PROBE_PORT, "protocol": "TCP"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(
            namespace,
            labels={"app.kubernetes.io/component": "bootstrapper"},
            annotations={
                # gardener-resource-manager makes NetworkPolicies of it; the port is the container's.
                "networking.resources.gardener.cloud/from-all-scrape-targets-allowed-ports": json.dumps(
                    scraped, separators=(",", ":")
                ),
                **service_annotations(options),
            },
        ),
        "spec": {
            "type": "ClusterIP",
            "selector": dict(names.POD_LABELS),
            "ports": [
                {"name": "https", "port": HTTPS_PORT, "targetPort": TLS_PORT, "protocol": "TCP"},
                {"name": "metrics", "port": PROBE_PORT, "targetPort": PROBE_PORT, "protocol": "TCP"},
            ],
        },
    }


def _pod_disruption_budget(namespace: str) -> Object:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(namespace),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": dict(names.POD_LABELS)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def _vertical_pod_autoscaler(namespace: str) -> Object:
    return {
        "apiVersion": "autoscaling.k8s.io/v1",
        "kind": "VerticalPodAutoscaler",
        "metadata": _metadata(namespace),
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": names.BOOTSTRAPPER},
            "updatePolicy": {"updateMode": "InPlaceOrRecreate"},
            "resourcePolicy": {
                "containerPolicies": [
                    {
                        "containerName": "bootstrapper",
                        "controlledValues": "RequestsOnly",
                        "minAllowed": {"memory": "48Mi"},
                    },
                    {"containerName": "*", "mode": "Off"},
                ]
            },
        },
    }


def _metadata(
    namespace: str, *, labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None
) -> Object:
    metadata: Object = {
        "name": names.BOOTSTRAPPER,
        "namespace": namespace,
        "labels": {**names.LABELS, **(labels or {})},
    }
    if annotations:
        metadata["annotations"] = annotations
    return metadata
