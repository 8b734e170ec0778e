"""The dashboard of a shoot's image cache, for Plutono: the JSON of Grafana 7.

Read from the top it answers: what does the cache save, how well does it work, and if not well, why not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from controller.objects.rules import BOOTSTRAPPER, NODES

Object = dict[str, Any]

UID = "registry-spegel"

_WIDTH = 24
_NODE = 'node=~"$node"'
_HELP = """\
**Saved** is what nodes got from each other instead of from a registry, in the time chosen above: bytes that
were neither paid for nor waited for, requests that count against no registry's limit. The first pull of an
image in a cluster is always a *miss*. **Hit ratio** is the part of the requests, for content that a node did
not have, that other nodes could answer.
"""


def dashboard() -> str:
    """Return the JSON, the same each time."""
    rows = [
        (4, [_text(_HELP)]),
        (5, _savings()),
        (8, _hits()),
        (8, _bytes()),
        (8, _times()),
        (8, _network()),
        (8, _trouble()),
    ]
    panels: list[Object] = []
    top = 0
    for height, row in rows:
        width = _WIDTH // len(row)
        for column, panel in enumerate(row):
            position = {"x": column * width, "y": top, "w": width, "h": height}
            panels.append({"id": len(panels) + 1, "gridPos": position, **panel})
        top += height
    return json.dumps(
        {
            "uid": UID,
            "title": "Registry Spegel",
            "tags": ["registry", "spegel"],
            "schemaVersion": 27,
            "version": 1,
            "editable": True,
            "graphTooltip": 1,
            "refresh": "1m",
            "timezone": "utc",
            "time": {"from": "now-24h", "to": "now"},
            "templating": {"list": [_node_variable()]},
            "panels": panels,
        },
        indent=1,
    )


def _savings() -> list[Object]:
    hits = _increase("spegel_mirror_requests_total", 'cache="hit"')
    return [
        _stat(
            "Saved: bytes",
            "Bytes that nodes received from other nodes",
            f"sum({_increase('spegel_received_bytes_total')})",
            "decbytes",
        ),
        _stat("Saved: requests", "Requests that other nodes answered", f"sum({hits})", "short"),
        _stat(
            "Hit ratio",
            "The part of the requests to other nodes that they could answer",
            f"sum({hits}) / sum({_increase('spegel_mirror_requests_total')})",
            "percentunit",
        ),
        _stat("Nodes", "Nodes whose daemon answers", f'sum(up{{job="{NODES}",{_NODE}}})', "short"),
        _stat(
            "Bootstrapper", "Replicas on the seed that answer", f'sum(up{{job="{BOOTSTRAPPER}"}})', "short"
        ),
        _stat(
            "Certificates",
            "Time until the first certificate ends, be it the bootstrapper's or one that a node shows",
            f"min({_of('server', 'certificate')} or {_of('client', 'client_certificate')}) - time()",
            "s",
        ),
    ]


def _hits() -> list[Object]:
    hits = _rate("spegel_mirror_requests_total", 'cache="hit"')
    requests = _rate("spegel_mirror_requests_total")
    return [
        _graph(
            "Hit ratio by registry",
            "The part of the requests to other nodes that they could answer",
            {"{{registry}}": f"sum by (registry) ({hits}) / sum by (registry) ({requests})"},
            "percentunit",
        ),
        _graph(
            "Requests to peers",
            "Requests for content that a node did not have",
            {"{{registry}} {{cache}}": f"sum by (registry, cache) ({requests})"},
            "reqps",
            stack=True,
        ),
    ]


def _bytes() -> list[Object]:
    return [
        _graph(
            "Bytes served by peers",
            "What nodes received from other nodes, by the registry that it would have come from",
            {"{{registry}}": f"sum by (registry) ({_rate('spegel_received_bytes_total')})"},
            "Bps",
            stack=True,
        ),
        _graph(
            "Bytes sent, by source",
            "peer: relayed from another node to containerd; local: of the node's own store, to other nodes",
            {"{{source}}": f"sum by (source) ({_rate('spegel_served_bytes_total')})"},
            "Bps",
            stack=True,
        ),
    ]


def _times() -> list[Object]:
    resolve = f"sum by (le) ({_rate('spegel_resolve_duration_seconds_bucket')})"
    request = f"sum by (le, handler, code) ({_rate('http_request_duration_seconds_bucket')})"
    return [
        _graph(
            "Resolve duration",
            "Time until the router found a first node that has what was asked for",
            {f"{part} %": f"histogram_quantile({part / 100}, {resolve})" for part in (50, 90, 99)},
            "s",
        ),
        _graph(
            "Request duration, 99 %",
            "Time to answer a request, transfers of whole layers included",
            {"{{handler}} {{code}}": f"histogram_quantile(0.99, {request})"},
            "s",
        ),
    ]


def _network() -> list[Object]:
    peers = f"(spegel_router_peers{{{_NODE}}})"
    return [
        _graph(
            "Peers",
            "Nodes that a node knows; in a large cluster not all of them",
            {"fewest": f"min{peers}", "mean": f"avg{peers}", "most": f"max{peers}"},
            "short",
        ),
        _graph(
            "Advertised keys",
            "Digests and tags that nodes offer to others",
            {"{{registry}}": f"sum by (registry) (spegel_advertised_keys{{{_NODE}}})"},
            "short",
            stack=True,
        ),
    ]


def _trouble() -> list[Object]:
    return [
        _graph(
            "Transfers resumed",
            "Transfers that another node finished, because the first one broke off",
            {"{{registry}}": f"sum by (registry) ({_rate('spegel_mirror_resumed_total')})"},
            "reqps",
        ),
        _graph(
            "Failed calls to containerd",
            "Calls by which the daemon finds out what its node has",
            {"{{operation}}": f"sum by (operation) ({_rate('spegel_store_errors_total')})"},
            "reqps",
        ),
    ]


def _of(side: str, certificate: str) -> str:
    """Return when certificates end, with a label; `or` passes over what differs by its name alone."""
    metric = f"registry_spegel_bootstrapper_{certificate}_expiry_timestamp_seconds"
    return f'label_replace({metric}, "side", "{side}", "", "")'


def _rate(metric: str, *matchers: str) -> str:
    return f"rate({metric}{{{','.join([*matchers, _NODE])}}}[$__rate_interval])"


def _increase(metric: str, *matchers: str) -> str:
    return f"increase({metric}{{{','.join([*matchers, _NODE])}}}[$__range])"


def _text(markdown: str) -> Object:
    return {"type": "text", "title": "", "options": {"mode": "markdown", "content": markdown}}


def _stat(title: str, description: str, query: str, unit: str) -> Object:
    return {
        "type": "stat",
        "title": title,
        "description": description,
        "datasource": None,
        "targets": [{"refId": "A", "expr": query, "instant": True}],
        "fieldConfig": {"defaults": {"unit": unit, "noValue": "-"}, "overrides": []},
        "options": {
            "reduceOptions": {"calcs": ["lastNotNull"]},
            "colorMode": "none",
            "graphMode": "none",
        },
    }


def _graph(
    title: str, description: str, queries: Mapping[str, str], unit: str, *, stack: bool = False
) -> Object:
    """Return a graph over time; ``queries`` by the text of their legend."""
    return {
        "type": "graph",
        "title": title,
        "description": description,
        "datasource": None,
        "targets": [
            {"refId": reference, "expr": query, "legendFormat": legend}
            for reference, (legend, query) in zip("ABC", queries.items(), strict=False)
        ],
        "lines": True,
        "linewidth": 1,
        "fill": 5 if stack else 0,
        "stack": stack,
        "nullPointMode": "null",
        "legend": {"show": True, "values": True, "current": True, "alignAsTable": True, "rightSide": True},
        "tooltip": {"shared": True, "sort": 2, "value_type": "individual"},
        "xaxis": {"mode": "time", "show": True},
        "yaxes": [
            {"format": unit, "min": 0, "max": 1 if unit == "percentunit" else None, "show": True},
            {"format": "short", "show": False},
        ],
    }


def _node_variable() -> Object:
    query = f'label_values(up{{job="{NODES}"}}, node)'
    return {
        "type": "query",
        "name": "node",
        "label": "Node",
        "datasource": None,
        "query": query,
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
