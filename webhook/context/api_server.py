"""The objects of a shoot as the seed's API server has them, read with the official client.

Plain JSON all the way: the client's models know nothing of Gardener's kinds and would cost more time
than the request. There are no retries; whoever writes an OperatingSystemConfig does so again.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import urllib3
from kubernetes import client, config

from webhook.context.landscape import EXTENSION, SECRET, LandscapeError

if TYPE_CHECKING:
    from pathlib import Path

_EXTENSIONS = "/apis/extensions.gardener.cloud/v1alpha1"
_MAX_BYTES = 16 << 20  # etcd holds no object of this size
_REASON_LENGTH = 300


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
        settings = client.Configuration()
        try:
            if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
                config.load_incluster_config(settings)
            else:
                config.load_kube_config(kubeconfig and str(kubeconfig), client_configuration=settings)
        except Exception as error:
            # A malformed file makes the loader raise anything.
            raise LandscapeError(f"no usable configuration for the API server: {error}") from error
        settings.retries = False
        settings.connection_pool_maxsize = connections
        self._client = client.ApiClient(settings)

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
        except (urllib3.exceptions.HTTPError, client.ApiException, OSError) as error:
            raise LandscapeError(f"{name}: cannot be read: {_cause(error, self._timeout)}") from error
        if status == 404:
            return None
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            value = None
        if status != 200:
            raise LandscapeError(f"{name}: cannot be read: status {status}: {_reason(value)}")
        if not isinstance(value, dict):
            raise LandscapeError(f"{name}: cannot be read: the answer is not a JSON object")
        return value

    def _get(self, path: str) -> tuple[int, bytes]:
        deadline = time.monotonic() + self._timeout
        request = self._client.param_serialize(
            "GET", path, header_params={"Accept": "application/json"}, auth_settings=["BearerToken"]
        )
        response = self._client.call_api(*request, _request_timeout=self._timeout).response
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


def _reason(status: object) -> str:
    """The message of a Kubernetes Status."""
    message = status.get("message") if isinstance(status, dict) else None
    return str(message)[:_REASON_LENGTH] if message else "no reason given"


def _cause(error: Exception, timeout: float) -> str:
    """What went wrong, without the client's own objects that its messages begin with."""
    refused = isinstance(error, urllib3.exceptions.NewConnectionError)  # a timeout too, says urllib3
    if isinstance(error, (TimeoutError, urllib3.exceptions.TimeoutError)) and not refused:
        return f"no answer within {timeout:g} s"
    if isinstance(error, client.ApiException):  # TLS; the last line is OpenSSL's
        text = str(error.reason).splitlines()[-1]
    elif isinstance(error, urllib3.exceptions.HTTPError) and error.args:
        text = str(error.args[0])
    else:
        text = str(error)
    return (text.partition("): ")[2] or text)[:_REASON_LENGTH]
