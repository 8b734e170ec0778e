"""When two spellings of a mirror's URL mean the same host to containerd."""

from __future__ import annotations

from urllib.parse import urlsplit

from webhook.mutation.model import LocalHost

_DEFAULT_PORTS = {"http": 80, "https": 443}


def is_local(url: str, host: LocalHost) -> bool:
    """Tell whether a URL is that of the local host, or was before its port changed."""
    return same_host(url, host.url) or (host.former_url is not None and same_host(url, host.former_url))


def same_host(one: str, other: str) -> bool:
    """Tell whether two URLs address the same host.

    Scheme and host name are compared without case, a default port equals none, and a trailing slash or the
    ``/v2`` that containerd adds by itself makes no difference. URLs that do not parse are compared as text.
    """
    if one == other:
        return True
    try:
        return _canonical(one) == _canonical(other)
    except ValueError:
        return False


def _canonical(url: str) -> tuple[str, str | None, int | None, str, str]:
    parts = urlsplit(url.strip())
    scheme = parts.scheme.lower()
    path = parts.path.rstrip("/").removesuffix("/v2")
    return scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(scheme), path, parts.query
