"""How the nodes' connections come to the bootstrapper: by the name in the TLS handshake, TLS untouched.

So mutual TLS is end to end: no key is on the way, and no one on the way can pretend to be a node.
"""

from __future__ import annotations

from typing import Any

from controller.objects import names
from controller.objects.options import Exposure, Options

Object = dict[str, Any]

HTTPS_PORT = 443
"""Of the bootstrapper's Service, and of the seed's ingress."""

_ISTIO = "networking.istio.io/v1beta1"


def exposure(namespace: str, host: str, options: Options) -> list[Object]:
    """Return what leads connections for a host to the bootstrapper's Service."""
    if options.exposure is Exposure.NGINX:
        return [_ingress(namespace, host)]
    return [
        _gateway(namespace, host, options),
        _virtual_service(namespace, host, options),
        _destination_rule(namespace, options),
    ]


def service_annotations(options: Options) -> dict[str, str]:
    """Return what makes the Service known to whoever passes connections on."""
    if options.exposure is Exposure.NGINX:
        return {}
    return {"networking.istio.io/exportTo": options.istio_namespace}


def _gateway(namespace: str, host: str, options: Options) -> Object:
    return {
        "apiVersion": _ISTIO,
        "kind": "Gateway",
        "metadata": _metadata(namespace),
        "spec": {
            "selector": dict(options.istio_labels),
            "servers": [
                {
                    "hosts": [host],
                    "port": {"number": HTTPS_PORT, "name": "tls", "protocol": "TLS"},
                    "tls": {"mode": "PASSTHROUGH"},
                }
            ],
        },
    }


def _virtual_service(namespace: str, host: str, options: Options) -> Object:
    destination = {"host": names.service_host(namespace), "port": {"number": HTTPS_PORT}}
    return {
        "apiVersion": _ISTIO,
        "kind": "VirtualService",
        "metadata": _metadata(namespace),
        "spec": {
            "exportTo": [options.istio_namespace],
            "gateways": [names.BOOTSTRAPPER],
            "hosts": [host],
            "tls": [
                {
                    "match": [{"port": HTTPS_PORT, "sniHosts": [host]}],
                    "route": [{"destination": destination}],
                }
            ],
        },
    }


def _destination_rule(namespace: str, options: Options) -> Object:
    return {
        "apiVersion": _ISTIO,
        "kind": "DestinationRule",
        "metadata": _metadata(namespace),
        "spec": {
            "exportTo": [options.istio_namespace],
            "host": names.service_host(namespace),
            # It is TLS already: nothing is put around it.
            "trafficPolicy": {"tls": {"mode": "DISABLE"}},
        },
    }


def _ingress(namespace: str, host: str) -> Object:
    backend = {"service": {"name": names.BOOTSTRAPPER, "port": {"number": HTTPS_PORT}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            **_metadata(namespace),
            "annotations": {
                "nginx.ingress.kubernetes.io/ssl-passthrough": "true",
                "nginx.ingress.kubernetes.io/backend-protocol": "HTTPS",
            },
        },
        "spec": {
            "ingressClassName": "nginx-ingress-gardener",
            "tls": [{"hosts": [host]}],
            "rules": [
                {
                    "host": host,
                    "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
                }
            ],
        },
    }


def _metadata(namespace: str) -> Object:
    return {"name": names.BOOTSTRAPPER, "namespace": namespace, "labels": dict(names.LABELS)}
