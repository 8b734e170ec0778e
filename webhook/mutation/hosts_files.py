"""The files of an OperatingSystemConfig that are a hosts.toml: the local host comes first in each of them."""

from __future__ import annotations

import base64
import posixpath
from collections.abc import Mapping
from typing import Any

from webhook.mutation import hosts_toml, reading
from webhook.mutation.files import inline
from webhook.mutation.model import LocalHost, Mutation, MutationError
from webhook.mutation.patch import add
from webhook.mutation.registries import DEFAULT_UPSTREAM

_DIRECTORY = "/etc/containerd/certs.d"


def prepend_local_host(files: list[Mapping[str, Any]], host: LocalHost) -> Mutation:
    """Put the local host first in every inline hosts.toml; warn of those whose content is elsewhere.

    Raises:
        MutationError: a file cannot be decoded or is not TOML; the message holds its path, line and column.
    """
    mutation = Mutation([], [])
    for index, file in enumerate(files):
        path = reading.text(file, "path", f"spec.files[{index}]")
        if path is None or _registry(path) is None:
            continue
        where = f"spec.files[{index}].content"
        content = reading.mapping(file, "content", f"spec.files[{index}]") or {}
        source = reading.mapping(content, "inline", where)
        if source is None:
            mutation.warnings.append(_not_inline(path, content))
            continue
        encoding = reading.text(source, "encoding", f"{where}.inline") or ""
        data = reading.text(source, "data", f"{where}.inline") or ""
        before = _decode(path, data, encoding)
        after = _prepend(path, before, host)
        if after != before:
            location = ("spec", "files", index, "content", "inline", "data")
            # "add" sets the member whether or not it is there: an empty file may leave it out.
            mutation.patch.append(add(location, _encode(after, encoding)))
    defaults = _defaults(files)
    if defaults and all(file.get("hostName") for file in defaults):
        # gardener-resource-manager refuses a path that is for all nodes and for named ones, and an entry of
        # criConfig would be written over the file.
        names = ", ".join(str(file["hostName"]) for file in defaults)
        mutation.warnings.append(
            f"{defaults[0]['path']}: only for {names}: no other node gets a default mirror"
        )
    return mutation


def has_default(files: list[Mapping[str, Any]]) -> bool:
    """Tell whether a file configures the default mirror."""
    return bool(_defaults(files))


def default_file(host: LocalHost) -> dict[str, Any]:
    """Build the default mirror's file: the local host alone."""
    path = f"{_DIRECTORY}/{DEFAULT_UPSTREAM}/hosts.toml"
    return {"path": path, "permissions": 0o644, "content": inline(hosts_toml.prepend("", host))}


def _defaults(files: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [
        file
        for file in files
        if isinstance(path := file.get("path"), str) and _registry(path) == DEFAULT_UPSTREAM
    ]


def _registry(path: str) -> str | None:
    """Return the registry whose hosts.toml a path is, None for any other file."""
    # Without a slash or with two of them in front it is the same file to gardener-node-agent.
    directory, name = posixpath.split(posixpath.normpath("/" + path.lstrip("/")))
    parent, registry = posixpath.split(directory)
    return registry if name == "hosts.toml" and parent == _DIRECTORY else None


def _not_inline(path: str, content: Mapping[str, Any]) -> str:
    source = next((key for key in ("secretRef", "imageRef") if content.get(key)), "nothing")
    return (
        f"{path}: left alone, its content comes from {source}: containerd will not ask the local host there"
    )


def _prepend(path: str, text: str, host: LocalHost) -> str:
    try:
        return hosts_toml.prepend(text, host)
    except hosts_toml.HostsTomlError as error:
        raise MutationError(f"{path}: line {error.line}, column {error.column}: {error.reason}") from error


def _decode(path: str, data: str, encoding: str) -> str:
    if encoding == "":
        return data
    if encoding != "b64":
        raise MutationError(f"{path}: unknown encoding {encoding!r}, known are '' and 'b64'")
    try:
        # As Go decodes it: line breaks within are no error.
        return base64.b64decode(data.replace("\r", "").replace("\n", ""), validate=True).decode()
    except ValueError as error:
        raise MutationError(f"{path}: not a base64 encoded UTF-8 text: {error}") from error


def _encode(text: str, encoding: str) -> str:
    return base64.b64encode(text.encode()).decode() if encoding == "b64" else text
