"""The objects of a shoot as the seed's API server has them, read with the official client.

There are no retries; whoever writes an OperatingSystemConfig does so again.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import urllib3

from serving.api_server import FAILURES, ConfigurationError, cause, connect, get, reason
from webhook.context.landscape import EXTENSION, SECRET, LandscapeError

if TYPE_CHECKING:
    from pathlib import Path

_EXTENSIONS = "/apis/extensions.gardener.cloud/v1alpha1"
_MAX_BYTES = 16 << 20  # etcd holds no object of this size


class ApiServer:
    """A Landscape; safe to use from many threads."""

    def __init__(self, kubeconfig: Path | None, *, timeout_seconds: float, connections: int) -> None:
        """Connect when first asked.

        Args:
            kubeconfig: the file to take address and credentials from; None means those of the pod, and
                outside of one the file that KUBECONFIG names or ~/.kube/config.
            timeout_seconds: for each read.
            connections: how many are kept open.

        Raises:
            LandscapeError: there is no usable configuration.
        """
        self._timeout = timeout_seconds
        try:
            self._client = connect(kubeconfig, connections=connections)
        except ConfigurationError as error:
            raise LandscapeError(str(error)) from error

    def extension(self, namespace: str) -> dict[str, Any] | None:
        """See Landscape."""
        path = f"{_EXTENSIONS}/namespaces/{namespace}/extensions/{EXTENSION}"
        return self._read(f"Extension {namespace}/{EXTENSION}", path)

    def cluster(self, namespace: str) -> dict[str, Any] | None:
        """See Landscape."""
        return self._read(f"Cluster {namespace}", f"{_EXTENSIONS}/clusters/{namespace}")

    def secret(self, namespace: str) -> dict[str, Any] | None:
        """See Landscape."""
        return self._read(f"Secret {namespace}/{SECRET}", f"/api/v1/namespaces/{namespace}/secrets/{SECRET}")

    def version(self) -> None:
        """Return when the API server answers.

        Raises:
            LandscapeError: it does not.
        """
        if self._read("API server", "/version") is None:
            raise LandscapeError("API server: /version is not found")

    def _read(self, name: str, path: str) -> dict[str, Any] | None:
        try:
            status, body = self._get(path)
        except FAILURES as error:
            raise LandscapeError(f"{name}: cannot be read: {cause(error, self._timeout)}") from error
        if status == 404:
            return None
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            value = None
        if status != 200:
            raise LandscapeError(f"{name}: cannot be read: status {status}: {reason(value)}")
        if not isinstance(value, dict):
            raise LandscapeError(f"{name}: cannot be read: the answer is not a JSON object")
        return value

    def _get(self, path: str) -> tuple[int, bytes]:
        deadline = time.monotonic() + self._timeout
        response = get(self._client, path, {}, self._timeout)
        try:
            return response.status, _body(response, deadline)
        except BaseException:
            response.close()
            raise
        finally:
            response.release_conn()


def _body(response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    """Read piece by piece: the timeout is for each wait on the socket, which a trickle never reaches."""
    body = bytearray()
    for piece in response.stream(1 << 16):
        body += piece
        if time.monotonic() > deadline:
            raise TimeoutError
        if len(body) > _MAX_BYTES:
            raise urllib3.exceptions.HTTPError(f"the answer is longer than {_MAX_BYTES} bytes")
    return bytes(body)
