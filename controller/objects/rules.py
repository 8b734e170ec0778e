"""What Prometheus makes of the figures: series that reach the garden, and alerts.

Series named ``shoot:...:...`` are federated to the landscape's Prometheus. Alerts for the owner are about the
shoot's nodes, those for the operator about what runs on the seed.
"""

from __future__ import annotations

from typing import Any

from controller.objects import names

Object = dict[str, Any]

NODES = names.NAME
"""``job`` of the daemons."""
BOOTSTRAPPER = names.BOOTSTRAPPER
"""``job`` of the bootstrapper."""

_PREFIX = "registry_spegel_bootstrapper_"
_EXPIRY_DAYS = 30  # renewal comes with 73 days left, so weeks of failures lie between


def groups() -> list[Object]:
    """Return the groups of a PrometheusRule, which are also those of a rule file."""
    return [{"name": f"{names.NAME}.rules", "rules": [*_records(), *_node_alerts(), *_seed_alerts()]}]


def _records() -> list[Object]:
    return [
        _record(
            "spegel_mirror_requests_total:rate5m", "sum by (cache) (rate(spegel_mirror_requests_total[5m]))"
        ),
        _record("spegel_received_bytes_total:rate5m", "sum(rate(spegel_received_bytes_total[5m]))"),
        _record("spegel_advertised_keys:sum", "sum(spegel_advertised_keys)"),
        _record("spegel_router_peers:min", "min(spegel_router_peers)"),
        _record("registry_spegel_up:avg", f'avg(up{{job="{NODES}"}})'),
    ]


def _node_alerts() -> list[Object]:
    requests = "spegel_mirror_requests_total"
    return [
        _alert(
            "NoPeers",
            "count(spegel_router_peers == 0) and count(spegel_router_peers) > 1",
            "30m",
            summary="Nodes know no other node.",
            description="{{ $value }} nodes have known no other node for half an hour and pull every image "
            "from its registry. Other nodes must be reachable on the daemon's router port.",
        ),
        _alert(
            "MissRate",
            f'sum(rate({requests}{{cache="miss"}}[30m])) / sum(rate({requests}[30m])) > 0.9'
            f" and sum(increase({requests}[30m])) > 100"
            f' and count(up{{job="{NODES}"}} == 1) > 1',
            "1h",
            summary="Peers rarely have what nodes ask for.",
            description="Peers answered fewer than one request in ten over the last hour; {{ $value | "
            "humanizePercentage }} went on to the registries. Images that only one node ever runs "
            "do that, and nodes that cannot reach each other.",
        ),
        _alert(
            "DaemonDown",
            f'1 - avg(up{{job="{NODES}"}}) > 0.1',
            "30m",
            summary="The image cache does not run on some nodes.",
            description="The cache has not answered on {{ $value | humanizePercentage }} of the nodes for "
            "half an hour. They pull images from the registries; see spegel.service on the nodes.",
        ),
    ]


def _seed_alerts() -> list[Object]:
    up = f'up{{job="{BOOTSTRAPPER}"}}'
    return [
        _alert(
            "BootstrapperUnreachable",
            f"absent({up} == 1)",
            "15m",
            visibility="operator",
            summary="New nodes cannot find the image cache of the others.",
            description="The bootstrapper in the shoot's namespace on the seed has not answered for a "
            "quarter of an hour. Nodes that know each other go on; new ones pull every image from "
            "its registry.",
        ),
        _alert(
            "BootstrapperOutdated",
            f"min({_PREFIX}answer_age_seconds) > 900",
            "15m",
            visibility="operator",
            summary="New nodes may be told of nodes that are gone.",
            description="The bootstrapper has not heard of the shoot's API server for {{ $value | "
            "humanizeDuration }}, and still names the nodes that there were then.",
        ),
        _alert(
            "CertificateExpires",
            f"min({_PREFIX}certificate_expiry_timestamp_seconds) - time() < {_EXPIRY_DAYS * 86400}",
            "1h",
            visibility="operator",
            summary="The bootstrapper's certificate is not renewed.",
            description="The certificate that the bootstrapper serves with ends in {{ $value | "
            "humanizeDuration }}. It is renewed when the Extension is reconciled.",
        ),
        _alert(
            "NodeCertificateExpires",
            f"min({_PREFIX}client_certificate_expiry_timestamp_seconds) - time() < {_EXPIRY_DAYS * 86400}",
            "1h",
            visibility="operator",
            summary="The nodes' certificate is not renewed.",
            description="A node still shows a certificate that ends in {{ $value | humanizeDuration }}; "
            "after that it finds no other node when it starts. It is renewed when the Extension is "
            "reconciled, and gets to the nodes with their OperatingSystemConfig.",
        ),
    ]


def _record(name: str, expression: str) -> Object:
    return {"record": f"shoot:{name}", "expr": expression}


def _alert(
    name: str,
    expression: str,
    duration: str,
    *,
    summary: str,
    description: str,
    visibility: str = "owner",
) -> Object:
    return {
        "alert": f"RegistrySpegel{name}",
        "expr": expression,
        "for": duration,
        "labels": {
            "service": names.NAME,
            "severity": "warning",
            "type": "shoot",
            "visibility": visibility,
        },
        "annotations": {"summary": summary, "description": description},
    }
