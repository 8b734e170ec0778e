"""What registry-cache and registry-mirror in the same Shoot have to do with the daemon's ports.

Nothing here is an error: neither extension binds a port on the nodes. Their own configuration is validated
by their own webhooks, so whatever is not as expected in it is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from api.field import shown

CACHE_PORTS = {5000, 5001}
"""Where the pods of registry-cache serve the registry and its metrics, in the pod network."""

Ports = Mapping[str, int]
"""The daemon's ports by field name."""


def cache_warnings(path: str, ports: Ports) -> Iterator[str]:
    """Yield a note on the ports, if any, that the daemon has in common with registry-cache's pods."""
    common = [f"{name} {port}" for name, port in ports.items() if port in CACHE_PORTS]
    if common:
        yield (
            f"{path}: {', '.join(common)}: the pods of registry-cache use the same number in the pod network;"
            " this is no conflict on the nodes"
        )


def loopback_warnings(path: str, provider_config: object, ports: Ports) -> Iterator[str]:
    """Yield a warning for each host of a registry-cache or registry-mirror that is the daemon itself.

    Args:
        path: of the providerConfig.
        provider_config: a RegistryConfig or MirrorConfig of any version.
        ports: the daemon's.
    """
    for where, host in _hosts(path, provider_config):
        port = _loopback_port(host)
        for name, own in ports.items():
            if port == own:
                yield (
                    f"{where}: {shown(host)} is the node's own {name} {port}, where the Spegel daemon"
                    " answers; give one of the two another port"
                )


def _hosts(path: str, provider_config: object) -> Iterator[tuple[str, str]]:
    for key, names in (("caches", ("upstream", "remoteURL")), ("mirrors", ("upstream",))):
        for index, entry in enumerate(_list(provider_config, key)):
            where = f"{path}.{key}[{index}]"
            yield from _texts(where, entry, names)
            for number, host in enumerate(_list(entry, "hosts")):
                yield from _texts(f"{where}.hosts[{number}]", host, ("host",))


def _list(parent: object, key: str) -> list[Any]:
    value = parent.get(key) if isinstance(parent, Mapping) else None
    return value if isinstance(value, list) else []


def _texts(path: str, parent: object, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    if isinstance(parent, Mapping):
        for key in keys:
            value = parent.get(key)
            if isinstance(value, str):
                yield f"{path}.{key}", value


def _loopback_port(host: str) -> int | None:
    """Return the port of ``[scheme://]host[:port]`` when the host is the machine itself."""
    try:
        url = urlsplit(host if "://" in host else f"//{host}")
        name, port = url.hostname or "", url.port
    except ValueError:
        return None
    if name != "localhost":
        try:
            if not ip_address(name).is_loopback:
                return None
        except ValueError:
            return None
    return port or {"http": 80, "https": 443}.get(url.scheme)
