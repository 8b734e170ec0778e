"""What a path of the OCI distribution API names (spec.md, section Endpoints)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from daemon.oci.digest import Digest, InvalidDigestError, parse_digest
from daemon.oci.errors import ErrorCode, OciError
from daemon.oci.reference import is_registry, is_repository, is_tag


@dataclass(frozen=True, slots=True)
class Target:
    """A manifest or a blob."""

    kind: Literal["manifest", "blob"]
    registry: str
    """The upstream registry, out of the ``ns`` parameter; empty when the request did not say."""
    name: str
    """The repository, ``library/alpine``."""
    tag: str | None
    digest: Digest | None
    """Either this or ``tag`` is there; a blob has no tag."""

    @property
    def key(self) -> str:
        """The digest, or the tag's full name as containerd has it: ``docker.io/library/alpine:3.20``."""
        return self.digest or f"{self.registry}/{self.name}:{self.tag}"

    def unknown(self, message: str) -> OciError:
        """Return the error that says it is not here."""
        code = ErrorCode.MANIFEST_UNKNOWN if self.kind == "manifest" else ErrorCode.BLOB_UNKNOWN
        return OciError(HTTPStatus.NOT_FOUND, code, message)


def parse_target(path: str, query: Mapping[str, str]) -> Target:
    """Read ``/v2/<name>/manifests/<tag or digest>`` or ``/v2/<name>/blobs/<digest>``.

    Raises:
        OciError: it is neither; always with status 404, after which containerd asks the next host.
    """
    name, kind, reference = _split(path)
    if not is_repository(name):
        raise _not_found(ErrorCode.NAME_INVALID, f"{name[:255]!r} is not the name of a repository")
    registry = query.get("ns", "")
    if registry and not is_registry(registry):
        raise _not_found(ErrorCode.NAME_INVALID, f"ns={registry[:255]!r} is not a registry")
    if ":" in reference or kind == "blobs":
        try:
            digest = parse_digest(reference)
        except InvalidDigestError as error:
            raise _not_found(ErrorCode.DIGEST_INVALID, str(error)) from error
        return Target("manifest" if kind == "manifests" else "blob", registry, name, None, digest)
    if not is_tag(reference):
        raise _not_found(ErrorCode.MANIFEST_UNKNOWN, f"{reference[:255]!r} is neither a tag nor a digest")
    if not registry:
        raise _not_found(ErrorCode.NAME_UNKNOWN, "a tag needs its registry beside it: ?ns=docker.io")
    return Target("manifest", registry, name, reference, None)


def _split(path: str) -> tuple[str, str, str]:
    # From the end: a repository's name may itself hold "manifests" or "blobs".
    parts = path.rsplit("/", 2)
    if len(parts) != 3 or parts[1] not in {"manifests", "blobs"} or not parts[0].startswith("/v2/"):
        raise _not_found(ErrorCode.UNSUPPORTED, "only manifests and blobs are served")
    return parts[0].removeprefix("/v2/"), parts[1], parts[2]


def _not_found(code: ErrorCode, message: str) -> OciError:
    return OciError(HTTPStatus.NOT_FOUND, code, message)
