"""Names of images, as containerd writes them: complete, with registry and tag or digest.

The grammar is the OCI distribution specification's (section Pull) for repositories and tags. What makes the
first component a registry is Docker's rule: it has a dot or a port, or is ``localhost``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from daemon.oci.digest import Digest, InvalidDigestError, parse_digest

_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:.]+\])(?::[0-9]{{1,5}})?")
_MAX_NAME = 255


class InvalidReferenceError(ValueError):
    """A text is no complete name of an image."""


def is_repository(text: str) -> bool:
    """Tell whether a text is a repository's name, such as ``library/alpine``."""
    return len(text) <= _MAX_NAME and _REPOSITORY.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    """Tell whether a text is a tag, such as ``3.20``."""
    return _TAG.fullmatch(text) is not None


def is_registry(text: str) -> bool:
    """Tell whether a text is a registry's host, with or without port: ``quay.io``, ``[::1]:5000``."""
    if len(text) > _MAX_NAME or not _REGISTRY.fullmatch(text):
        return False
    return "." in text or ":" in text or text == "localhost"


@dataclass(frozen=True, slots=True)
class Reference:
    """A complete name of an image; it has a tag, a digest or both."""

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @property
    def tag_name(self) -> str | None:
        """The name by tag, ``docker.io/library/alpine:3.20``; None when there is no tag."""
        return f"{self.registry}/{self.repository}:{self.tag}" if self.tag else None


def parse_reference(name: str) -> Reference:
    """Take an image's name apart. Nothing is assumed: a name without registry is refused.

    Raises:
        InvalidReferenceError: the name is not complete or not well-formed.
    """
    registry, slash, rest = name.partition("/")
    if not slash or not is_registry(registry):
        raise InvalidReferenceError(f"image name {name[:300]!r} does not start with a registry")
    rest, at, digest_text = rest.partition("@")
    repository, colon, tag = rest.partition(":")
    if not is_repository(repository):
        raise InvalidReferenceError(f"image name {name[:300]!r} has no valid repository")
    if colon and not is_tag(tag):
        raise InvalidReferenceError(f"image name {name[:300]!r} has no valid tag")
    if not colon and not at:
        raise InvalidReferenceError(f"image name {name[:300]!r} has neither tag nor digest")
    try:
        digest = parse_digest(digest_text) if at else None
    except InvalidDigestError as error:
        raise InvalidReferenceError(f"image name {name[:300]!r}: {error}") from error
    return Reference(registry, repository, tag or None, digest)
