"""The source of nodes that the settings name."""

from __future__ import annotations

from pathlib import Path

from bootstrapper.settings import NodesSettings
from bootstrapper.sources.base import Source, SourceError


def source(settings: NodesSettings, directory: Path | None) -> Source:
    """Return the source; ``directory`` is for files that the client of an API server needs."""
    if settings.nodes_file is not None:
        from bootstrapper.sources.file import NodesFile  # noqa: PLC0415 - only one of them is needed

        return NodesFile(settings.nodes_file)
    from bootstrapper.sources.api_server import ApiServer  # noqa: PLC0415 - the client takes 15 MB

    return ApiServer(settings.kubeconfig, timeout_seconds=settings.api_timeout_seconds, directory=directory)


def check(settings: NodesSettings, directory: Path | None) -> None:
    """Try the configuration, so that a mistake is said at once and not by each process.

    Args:
        settings: of which the source matters.
        directory: see source().

    Raises:
        SourceError: it is not usable. An API server that does not answer is no mistake.
    """
    if settings.nodes_file is not None:
        if not settings.nodes_file.is_file():
            raise SourceError("file", f"{settings.nodes_file}: there is no such file")
        return
    from serving import api_server  # noqa: PLC0415 - the client takes 15 MB

    try:
        api_server.connect(settings.kubeconfig, directory=directory)
    except api_server.ConfigurationError as error:
        raise SourceError("configuration", str(error)) from error
