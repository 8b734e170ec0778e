"""The seam between the webhook and the seed: which objects of a shoot are read, and how a read fails."""

from __future__ import annotations

from typing import Any, Protocol

EXTENSION = "registry-spegel"
"""Name of the Extension in the shoot's namespace, which is also its type."""
SECRET = "registry-spegel-bootstrap"  # noqa: S105  # the name of a Secret, not one
"""Name of the Secret with the client certificate (see webhook.mutation.files) and, under ``url``, the URL of
the bootstrapper."""


class LandscapeError(Exception):
    """An object could not be read; the message names the object and the cause."""


class Landscape(Protocol):
    """The three objects that describe a shoot to the webhook.

    Each method returns the object as the API server's JSON says it, or None when it does not exist,
    and raises LandscapeError when that cannot be told.
    """

    def extension(self, namespace: str) -> dict[str, Any] | None:
        """Return the Extension ``registry-spegel`` in the shoot's namespace."""

    def cluster(self, namespace: str) -> dict[str, Any] | None:
        """Return the Cluster, which is named like the shoot's namespace."""

    def secret(self, namespace: str) -> dict[str, Any] | None:
        """Return the Secret ``registry-spegel-bootstrap`` in the shoot's namespace."""
