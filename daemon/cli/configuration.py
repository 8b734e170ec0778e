"""``spegel configuration``: containerd's registry configuration, with this node's registry in front."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from daemon.cli.backup import BACKUP, back_up, original, remove_others
from daemon.cli.commands import Configuration
from daemon.cli.hosts_toml import InvalidHostsFileError, host_tables, mirror_hosts
from daemon.oci.filters import WILDCARDS, InvalidFilterError, registry_host
from daemon.registry.credentials import DIRECTORY, load_credentials

_HOSTS_FILE = "hosts.toml"
_DEFAULT = "_default"
_TEMPORARY = ".spegel-new"
_AUTHORIZATION = "Authorization"
"""A file that holds a password is not for everyone."""

logger = logging.getLogger(__name__)


class ConfigurationError(Exception):
    """The configuration cannot be written; the message says why. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry that is to be mirrored."""

    directory: str
    """Its name below certs.d."""
    server: str | None
    """Its own URL; None for all registries."""


def run_configuration(command: Configuration, credentials: Path = DIRECTORY) -> int:
    """Write the configuration; return the exit code."""
    try:
        write_configuration(command, credentials)
    except (ConfigurationError, OSError) as error:
        logger.error("%s", error)  # noqa: TRY400  # one line says it all
        return 1
    return 0


def write_configuration(command: Configuration, credentials: Path) -> None:
    """Make the directory hold what the command asks for, and nothing else but the backup.

    Raises:
        ConfigurationError: the command's values or what is there cannot be used.
        OSError: the system refuses.
    """
    root = Path(command.containerd_registry_config_path)
    files = _plan(command, root, credentials)
    root.mkdir(mode=0o755, parents=True, exist_ok=True)
    back_up(root)
    for path, content in files.items():
        _write(root, path, content)
        logger.info("wrote %s", root / path)
    remove_others(root, {root / path for path in files})


def _plan(command: Configuration, root: Path, credentials: Path) -> dict[Path, str | None]:
    """Return the files to be written, relative to the root; None for copies out of the backup."""
    registries = parse_registries(command.mirrored_registries)
    targets = [parse_target(target) for target in command.mirror_targets]
    try:
        known = load_credentials(credentials)
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the files in {credentials} are not UTF-8") from error
    files: dict[Path, str | None] = {}
    for registry in registries:
        text = mirror_hosts(
            registry.server,
            targets,
            resolve_tags=command.resolve_tags,
            authorization=known.header if known else None,
        )
        directory = Path(registry.directory)
        existing = _existing(root, directory) if command.prepend_existing else ""
        if existing:
            text = f"{text}\n{existing}"
            files.update(dict.fromkeys(_companions(root, directory)))
        files[directory / _HOSTS_FILE] = text
    return files


def parse_registries(texts: Sequence[str]) -> list[Registry]:
    """Read a list of registries to be mirrored; none means all.

    Raises:
        ConfigurationError: one is no registry's URL, or there are two wildcards.
    """
    if sum(text in WILDCARDS for text in texts) > 1:
        raise ConfigurationError("the mirrored registries contain more than one wildcard (_default or *)")
    return [_registry(text) for text in texts] or [Registry(_DEFAULT, None)]


def parse_target(text: str) -> str:
    """Return a mirror's URL as it stands in hosts.toml; IPv6 addresses may lack their brackets.

    Raises:
        ConfigurationError: it is no URL of a host.
    """
    scheme, colon, host = text.partition("://")
    if colon and host.count(":") > 1 and "[" not in host:
        address, _, port = host.rpartition(":")
        text = f"{scheme}://[{address}]:{port}"
    if text in WILDCARDS:
        raise ConfigurationError("a mirror target must be a URL, no wildcard")
    return _url(text)


def _registry(text: str) -> Registry:
    if text in WILDCARDS:
        return Registry(_DEFAULT, None)
    url = _url(text)
    # docker.io is a name only; what answers is another host.
    server = "https://registry-1.docker.io" if url == "https://docker.io" else url
    return Registry(registry_host(url), server)


def _url(text: str) -> str:
    try:
        host = registry_host(text)
    except InvalidFilterError as error:
        raise ConfigurationError(str(error)) from error
    return f"{urlsplit(text).scheme}://{host}"


def _existing(root: Path, directory: Path) -> str:
    path = original(root, directory / _HOSTS_FILE)
    try:
        return host_tables(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ""
    except (InvalidHostsFileError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be prepended to: {error}") from error


def _companions(root: Path, directory: Path) -> Iterator[Path]:
    """Yield the files beside a hosts.toml, which may be certificates that it names."""
    top = original(root, directory)
    for parent, _, names in os.walk(top):
        for name in names:
            if name != _HOSTS_FILE:
                yield directory / (Path(parent) / name).relative_to(top)


def _write(root: Path, relative: Path, content: str | None) -> None:
    """Write a file, or copy the user's with its mode; at any time either the old or the new one is there."""
    path = root / relative
    # What stands in the way is none of the user's: that was backed up.
    for parent in reversed(relative.parents[:-1]):
        directory = root / parent
        if directory.is_symlink() or not directory.is_dir():
            directory.unlink(missing_ok=True)
            directory.mkdir(mode=0o755)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    temporary = path.with_name(_TEMPORARY)
    temporary.unlink(missing_ok=True)
    if content is None:
        shutil.copy2(root / BACKUP / relative, temporary)
    else:
        temporary.touch(mode=0o600)
        temporary.write_text(content, encoding="utf-8")
        temporary.chmod(0o600 if _AUTHORIZATION in content else 0o644)
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    temporary.replace(path)
