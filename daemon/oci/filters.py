"""Which images are neither served nor advertised: what the operator's flags filter out."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from daemon.oci.reference import is_registry

WILDCARDS = frozenset({"_default", "*"})
"""In a list of registries, each of these stands for all registries."""
_NUMBER = re.compile(r"[0-9]{2,5}")
_GROUP = re.compile(r"\(\?[a-zA-Z-]*:")


class InvalidFilterError(ValueError):
    """A filter's text cannot be used; the message says which and why."""


def registry_host(url: str) -> str:
    """Return the host, with its port if it has one, of a registry's URL such as ``https://docker.io``.

    Raises:
        InvalidFilterError: it is no http or https URL, or has more than a host.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidFilterError(f"registry {url!r} is not a URL: {error}") from error
    if parts.scheme not in {"http", "https"}:
        raise InvalidFilterError(f"registry {url!r} must start with https:// or http://")
    if parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        raise InvalidFilterError(f"registry {url!r} must be a scheme and a host only, like https://docker.io")
    if not is_registry(parts.netloc) and not is_registry(f"{parts.netloc}:443"):
        raise InvalidFilterError(f"registry {url!r} has no valid host")
    return parts.netloc


@dataclass(frozen=True, slots=True)
class Filters:
    """Decides by registry, repository and tag. The default lets everything through."""

    registries: frozenset[str] | None = None
    """Hosts of the registries that are mirrored; None when all are."""
    expressions: tuple[re.Pattern[str], ...] = ()
    """What one of these finds somewhere in ``registry/repository[:tag]`` is filtered out."""

    def excludes(self, registry: str, repository: str, tag: str | None = None) -> bool:
        """Tell whether an image is filtered out; without a tag the question is about content by digest."""
        if self.registries is not None and registry not in self.registries:
            return True
        name = f"{registry}/{repository}:{tag}" if tag else f"{registry}/{repository}"
        return any(expression.search(name) for expression in self.expressions)

    def excludes_source(self, source: str) -> bool:
        """Tell whether a store's source, ``registry/repository``, is filtered out.

        Sources lack the registry's port. So a mirrored registry is recognised by its host alone, and an
        expression is searched in what the source may stand for: without a port, and with each that it names.
        """
        host, _, repository = source.partition("/")
        if self.registries is not None and host not in {_without_port(name) for name in self.registries}:
            return True
        host = f"[{host}]" if ":" in host else host
        return any(
            expression.search(f"{host}{port}/{repository}")
            for expression in self.expressions
            for port in _ports(expression.pattern)
        )


def parse_filters(mirrored_registries: Iterable[str], expressions: Iterable[str]) -> Filters:
    """Make filters from the values of ``--mirrored-registries`` and ``--registry-filters``.

    No registries, or a wildcard among them, means all registries.

    Raises:
        InvalidFilterError: a registry is no URL, there are two wildcards, or an expression does not compile.
    """
    listed = tuple(mirrored_registries)
    wildcards = [text for text in listed if text in WILDCARDS]
    if len(wildcards) > 1:
        raise InvalidFilterError("the mirrored registries contain more than one wildcard (_default or *)")
    hosts = frozenset(registry_host(text) for text in listed if text not in WILDCARDS)
    return Filters(
        registries=hosts if hosts and not wildcards else None,
        expressions=tuple(_compile(expression) for expression in expressions),
    )


def _compile(expression: str) -> re.Pattern[str]:
    with warnings.catch_warnings():
        # "[[:alpha:]]" only warns, and matches something else than in Go, whose syntax upstream documents.
        warnings.simplefilter("error", FutureWarning)
        try:
            return re.compile(expression)
        except (re.error, FutureWarning, RecursionError, OverflowError) as error:
            raise InvalidFilterError(
                f"registry filter {expression!r} is no regular expression: {error}"
            ) from error


@lru_cache
def _ports(expression: str) -> tuple[str, ...]:
    """Return the ports for which a registry's host may stand, for one expression.

    Where it has a colon, any number in it may be a port; 5000 is tried for those that describe ports, such as
    ``:[0-9]+/``.
    """
    if ":" not in _GROUP.sub("(", expression):
        return ("",)  # it does not speak of ports
    return ("", *(f":{number}" for number in dict.fromkeys(["5000", *_NUMBER.findall(expression)])))


def _without_port(registry: str) -> str:
    host, _, port = registry.rpartition(":")
    return (host if host and port.isdigit() else registry).strip("[]")
