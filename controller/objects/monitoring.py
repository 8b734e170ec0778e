"""What the shoot's Prometheus and Plutono, in its namespace on the seed, are told.

The daemons are scraped through the API server's proxy for nodes: Prometheus has that access already, and
what comes by node-exporter is only kept if Gardener knows its name.
"""

from __future__ import annotations

from typing import Any

from controller.objects import dashboard, names, rules

Object = dict[str, Any]

_API_SERVER = "kube-apiserver"
_TOKEN = {"credentials": {"name": "shoot-access-prometheus-shoot", "key": "token"}}
# As Gardener's own: the name of the Secret with the API server's authority changes with every rotation.
_TLS = {"insecureSkipVerify": True}

_KEPT = "spegel_.+|http_request_duration_seconds_.+|http_response_size_bytes_.+|http_requests_inflight"
_KEPT_OF_BOOTSTRAPPER = "registry_spegel_bootstrapper_.+"


def monitoring(namespace: str, metrics_port: int) -> list[Object]:
    """Return all of it; ``metrics_port`` is that of the daemon on each node."""
    return [
        _scrape_config(namespace, metrics_port),
        _service_monitor(namespace),
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": _metadata(namespace, names.NAME),
            "spec": {"groups": rules.groups()},
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": f"{names.NAME}-dashboards",
                "namespace": namespace,
                "labels": {
                    **names.LABELS,
                    "component": names.NAME,
                    "dashboard.monitoring.gardener.cloud/shoot": "true",
                },
            },
            "data": {f"{names.NAME}.dashboard.json": dashboard.dashboard()},
        },
    ]


def _scrape_config(namespace: str, metrics_port: int) -> Object:
    node = "__meta_kubernetes_node_name"
    return {
        "apiVersion": "monitoring.coreos.com/v1alpha1",
        "kind": "ScrapeConfig",
        "metadata": _metadata(namespace, names.NAME),
        "spec": {
            "honorLabels": False,
            "scheme": "HTTPS",
            "authorization": _TOKEN,
            "tlsConfig": _TLS,
            "kubernetesSDConfigs": [
                {
                    "role": "Node",
                    "apiServer": f"https://{_API_SERVER}",
                    "authorization": _TOKEN,
                    "tlsConfig": _TLS,
                }
            ],
            "relabelings": [
                {"targetLabel": "job", "replacement": rules.NODES},
                {"targetLabel": "__address__", "replacement": f"{_API_SERVER}:443"},
                {
                    "sourceLabels": [node],
                    "targetLabel": "__metrics_path__",
                    "replacement": f"/api/v1/nodes/${{1}}:{metrics_port}/proxy/metrics",
                },
                {"sourceLabels": [node], "targetLabel": "node"},
                # All have the API server's address.
                {"sourceLabels": [node], "targetLabel": "instance"},
            ],
            "metricRelabelings": [_keep(_KEPT)],
        },
    }


def _service_monitor(namespace: str) -> Object:
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": _metadata(namespace, names.BOOTSTRAPPER),
        "spec": {
            "selector": {"matchLabels": dict(names.POD_LABELS)},
            "endpoints": [
                {
                    "port": "metrics",
                    "path": "/metrics",
                    "relabelings": [{"targetLabel": "job", "replacement": rules.BOOTSTRAPPER}],
                    "metricRelabelings": [_keep(_KEPT_OF_BOOTSTRAPPER)],
                }
            ],
        },
    }


def _keep(regex: str) -> Object:
    return {"action": "keep", "sourceLabels": ["__name__"], "regex": regex}


def _metadata(namespace: str, component: str) -> Object:
    """Return what the shoot's Prometheus selects by."""
    return {
        "name": f"shoot-{component}",
        "namespace": namespace,
        "labels": {**names.LABELS, "prometheus": "shoot", "component": component},
    }
